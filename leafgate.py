"""leafgate: an Azure IoT Edge transparent gateway on one machine.

The front door of the distribution: the public names, the `leafgate` command and the pytest plugin.

    from leafgate import Gateway, Leaf, Authority

Everything is imported on first use, so that `leafgate --help` answers at once and so that this module still works
when a package of the user's hides one of ours (`gateway`, `certs`, `leafsim` and `scenarios` are common names).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from certs import Authority, Chain
    from gateway import Gateway, ManualClock
    from leafsim import ConnectionString, Device, Leaf

__version__ = "0.1.0"
__all__ = ["Authority", "Chain", "ConnectionString", "Device", "Gateway", "Leaf", "ManualClock"]

PACKAGES = ("certs", "gateway", "leafsim", "scenarios")

_HOMES = {
    "Authority": "certs",
    "Chain": "certs",
    "Gateway": "gateway",
    "ManualClock": "gateway",
    "ConnectionString": "leafsim",
    "Device": "leafsim",
    "Leaf": "leafsim",
}


class ShadowedPackageError(ImportError):
    """A package of the user's hides one of leafgate's."""

    def __init__(self, name: str, found: str) -> None:
        self.message = f"the package {name!r} that Python finds is {found}, not leafgate's"
        self.hint = "rename it, or start from another folder (python -P leaves the current folder out of the path)"
        self.exit_code = 3
        super().__init__(f"leafgate: {self.message}\n  hint: {self.hint}")


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'leafgate' has no attribute {name!r}")
    check_packages()
    return getattr(importlib.import_module(_HOMES[name]), name)


def check_packages() -> None:
    """Raise ShadowedPackageError when one of our packages is not the one beside this file."""
    home = Path(__file__).resolve().parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if home / name in places:
            continue
        found = "missing" if spec is None else spec.origin or str(places[0] if places else name)
        raise ShadowedPackageError(name, found)


def main(argv: list[str] | None = None) -> int:
    """Run the `leafgate` command; returns its exit code."""
    try:
        check_packages()
        return _run(sys.argv[1:] if argv is None else argv)
    except Exception as error:
        if not _is_for_people(error):
            raise
        _say(error)
        return int(error.exit_code)  # type: ignore[attr-defined]  # checked by _is_for_people


def _is_for_people(error: Exception) -> bool:
    return all(hasattr(error, name) for name in ("message", "hint", "exit_code"))


def _say(error: Any) -> None:
    sys.stderr.write(f"leafgate: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"  hint: {error.hint}\n")


def _run(argv: list[str]) -> int:
    try:
        _application()(args=argv, prog_name="leafgate")
    except SystemExit as leave:  # typer reports wrong usage (2) and Ctrl-C (130) by itself
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0


def _application() -> Any:
    """Build the command from the entry-point group `leafgate.commands`.

    A function is a command, with the settings in its attribute `command_settings`; a Typer is a group of commands.
    A command ends with another exit code than 0 by raising typer.Exit.
    """
    from importlib.metadata import entry_points

    import typer

    app = typer.Typer(
        name="leafgate",
        help="An Azure IoT Edge transparent gateway on one machine: no cloud, no Docker, no account.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        epilog="Start with `leafgate demo`. Exit codes: 0 as expected, 1 an expectation failed, 2 usage, "
        "3 cannot start or reach.",
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
        if version:
            typer.echo(f"leafgate {__version__}")
            raise typer.Exit

    for entry in sorted(entry_points(group="leafgate.commands"), key=lambda entry: entry.name):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            settings = getattr(command, "command_settings", {})
            app.command(name=entry.name, **settings)(command)
    return app


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures and the collection of *.scenario.yaml (this module is the pytest plugin's entry point)."""
    import pytest

    try:
        check_packages()
    except ShadowedPackageError as shadowed:
        raise pytest.UsageError(str(shadowed)) from None
    plugin = importlib.import_module("scenarios.pytest_plugin")
    config.pluginmanager.register(plugin, "leafgate-scenarios")


if __name__ == "__main__":
    sys.exit(main())
