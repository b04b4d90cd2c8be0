"""`reset`."""

from __future__ import annotations

from typing import ClassVar

from gateway.faults.counted import Counted, CountedFault
from gateway.faults.effect import Effect, Link


class Reset(CountedFault):
    """The connection ends with a TCP reset (ECONNRESET), at once or after so many bytes."""

    name: ClassVar[str] = "reset"

    def effect(self, line: Link, seed: str) -> Effect:
        """Reset."""
        return _Reset(line, self)


class _Reset(Counted):
    def strike(self) -> None:
        """The reset overtakes what is on its way."""
        self.line.reset()
