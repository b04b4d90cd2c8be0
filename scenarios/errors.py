"""What can go wrong with a scenario, apart from an expectation that is not met.

Each error carries a message, a hint and the exit code that the command line gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ScenariosError(Exception):
    """Base of all errors of this package; `exit_code` 2 means a file or the usage is wrong."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file, where (counted from 1), and what to write instead."""

    path: Path
    line: int
    column: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.what}"


class ScenarioFileError(ScenariosError):
    """A scenario file says something that cannot be played; `problems` has all of it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownScenarioError(ScenariosError):
    """Neither a file, nor a folder, nor a scenario of the library bears this name."""


class CannotPlayError(ScenariosError):
    """The scenario is right, but the room for it could not be made."""

    exit_code = 3


class SkippedError(ScenariosError):
    """This machine lacks what the scenario needs; nothing is known about its claim."""

    exit_code = 0


class NotAsExpected(Exception):
    """A step came out differently from what its `expect` says."""

    def __init__(self, expected: str, got: str) -> None:
        self.expected = expected
        self.got = got
        super().__init__(f"expected {expected}, got {got}")
