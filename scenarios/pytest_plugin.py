"""The pytest plugin: a gateway per test, and `*.scenario.yaml` files as tests.

Rule: nothing is shared between tests: each has its own ports and its own folder, so they run in parallel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from scenarios.results import Result
    from scenarios.rig import GatewayHandle, LeafHandle

SUFFIX = ".scenario.yaml"
SEED = "LEAFGATE_SEED"


@pytest.fixture
def gateway_factory(tmp_path: Path) -> Iterator[Callable[..., GatewayHandle]]:
    """Start gateways: `gateway_factory(hostname="gw.factory.test", generation="1.5")`; all end with the test."""
    from scenarios.rig import GatewayHandle  # noqa: PLC0415 - a test run without gateways does not pay for them

    numbers = count(1)
    with ExitStack() as running:

        def start(**options: Any) -> GatewayHandle:
            return running.enter_context(GatewayHandle(tmp_path / f"leafgate-{next(numbers)}", **options))

        yield start


@pytest.fixture
def gateway(gateway_factory: Callable[..., GatewayHandle]) -> GatewayHandle:
    """A running gateway on a free port, with everything at its default."""
    return gateway_factory()


@pytest.fixture
def leaf(gateway: GatewayHandle) -> LeafHandle:
    """A leaf that is registered at `gateway`."""
    return gateway.leaf("leaf-1")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect scenario files."""
    if file_path.name.endswith(SUFFIX):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


class ScenarioFile(pytest.File):
    """One scenario file."""

    def collect(self) -> Iterator[pytest.Item]:
        """Its one test."""
        yield ScenarioItem.from_parent(self, name=self.path.name.removesuffix(SUFFIX))


class ScenarioFailure(Exception):
    """The scenario did not come out as it claims."""

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(result.reason)


class ScenarioItem(pytest.Item):
    """One scenario as a test."""

    def runtest(self) -> None:
        """Play it."""
        import asyncio  # noqa: PLC0415

        from scenarios.catalogue import load_all  # noqa: PLC0415
        from scenarios.chainplan import new_seed  # noqa: PLC0415
        from scenarios.runner import play  # noqa: PLC0415

        loaded = load_all([self.path])[0]
        self.seed = int(os.environ.get(SEED) or new_seed())
        result = asyncio.run(play(loaded, seed=self.seed))
        if result.status == "skipped":
            pytest.skip(result.reason)
        if result.status != "passed":
            raise ScenarioFailure(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The text report, or what is wrong with the file."""
        from scenarios.errors import ScenarioFileError  # noqa: PLC0415
        from scenarios.reports.text import Style, scenario  # noqa: PLC0415

        if isinstance(excinfo.value, ScenarioFailure):
            lines = scenario(excinfo.value.result, Style(colour=False), verbose=True)
            return "\n".join([*lines, f"   (repeat with {SEED}={self.seed})"])
        if isinstance(excinfo.value, ScenarioFileError):
            return excinfo.value.message
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is, for pytest's own lines."""
        return self.path, 0, self.name
