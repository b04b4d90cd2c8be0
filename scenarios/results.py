"""What is known after a scenario has played: everything that the reports say."""

from __future__ import annotations

import platform
import ssl
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Literal

from scenarios.probing import StackNote
from scenarios.timeline import Row

Status = Literal["passed", "failed", "skipped", "error"]


@dataclass(frozen=True)
class Result:
    """The outcome of one scenario. `reason` is empty when it passed."""

    file: str
    name: str
    claim: str
    status: Status
    duration: float
    reason: str = ""
    step: str = ""
    expected: str = ""
    got: str = ""
    why: str = ""
    fix: str = ""
    era: str = ""
    counterpart: str = ""
    rows: tuple[Row, ...] = ()
    stacks: tuple[StackNote, ...] = ()


@dataclass(frozen=True)
class Run:
    """All results of one run and the seed that repeats it."""

    seed: int
    results: tuple[Result, ...]
    duration: float

    def count(self, status: Status) -> int:
        """How many scenarios ended so."""
        return sum(result.status == status for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 all as expected, 3 one could not be played, 1 an expectation failed."""
        if self.count("error"):
            return 3
        return 1 if self.count("failed") else 0


@cache
def environment() -> dict[str, str]:
    """What the outcome may depend on."""
    return {
        "leafgate": version("leafgate"),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "paho-mqtt": version("paho-mqtt"),
        "cryptography": version("cryptography"),
        "platform": platform.platform(),
    }
