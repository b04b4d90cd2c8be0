"""Faults that strike once so many bytes have passed."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from gateway.faults.effect import Effect, End, Link, Piece, Way
from gateway.faults.fault import Direction, WireFault, ways


class CountedFault(WireFault):
    """Base of faults with a number of bytes that still pass."""

    after: int = Field(default=0, ge=0, description="bytes that pass before it strikes")
    direction: Direction = Field(default="both", description="whose bytes count: to-gateway, to-client or both")


class Counted(Effect):
    """Lets so many bytes pass, to the byte, then strikes."""

    def __init__(self, line: Link, fault: CountedFault) -> None:
        super().__init__(line)
        self._left = fault.after
        self._ways = ways(fault.direction)
        self.struck = False

    @abstractmethod
    def strike(self) -> None:
        """So many bytes have passed."""

    def begin(self) -> None:
        """Nothing may have to pass first."""
        if not self._left:
            self._strike()

    def take(self, way: Way, piece: Piece) -> None:
        """Count what passes."""
        if self.struck:
            self.after_strike(way, piece)
        elif isinstance(piece, End) or way not in self._ways:
            self.line.forward(way, piece, self)
        else:
            first, rest = piece[: self._left], piece[self._left :]
            self._left -= len(first)
            self.line.forward(way, first, self)
            if not self._left:
                self._strike()
            if rest:
                self.after_strike(way, rest)

    def after_strike(self, way: Way, piece: Piece) -> None:
        """What becomes of the rest: it vanishes."""

    def _strike(self) -> None:
        if not self.struck:
            self.struck = True
            self.strike()
