"""What happened in a scenario, in order: when, to whom, what, and a remark beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing that happened, `at` seconds after the scenario began."""

    at: float
    who: str
    text: str
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """The row as the JSON report has it."""
        return {"at": round(self.at, 3), "who": self.who, "text": self.text, "note": self.note or None}


class Timeline:
    """The rows of one scenario."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._rows: list[Row] = []

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, oldest first."""
        return tuple(self._rows)

    @property
    def elapsed(self) -> float:
        """Seconds since the scenario began."""
        return self._clock() - self._start

    def add(self, who: str, text: str, note: str = "") -> None:
        """Note that something happened now."""
        self._rows.append(Row(self.elapsed, who, text, note))
