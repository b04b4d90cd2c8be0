"""`slow`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gateway.faults.effect import Effect, Link, Piece, size
from gateway.faults.fault import Direction, WireFault, ways
from gateway.faults.timed import Timed

_TICK = 0.05  # seconds of a connection's bytes that pass together


class Slow(WireFault):
    """Only so many bytes a second pass."""

    name: ClassVar[str] = "slow"

    bytes_per_second: int = Field(ge=1, description="how many")
    direction: Direction = Field(default="both", description="what is slow: to-gateway, to-client or both")

    def effect(self, line: Link, seed: str) -> Effect:
        """Let small parts pass, one by one."""
        return _Trickle(line, self)


class _Trickle(Timed):
    def __init__(self, line: Link, fault: Slow) -> None:
        super().__init__(line, ways(fault.direction))
        self._rate = fault.bytes_per_second
        self._part = max(1, int(fault.bytes_per_second * _TICK))

    def split(self, piece: Piece) -> list[Piece]:
        """Parts that take a moment each."""
        if not isinstance(piece, bytes):
            return [piece]
        return [piece[start : start + self._part] for start in range(0, len(piece), self._part)]

    def due(self, piece: Piece, last: float) -> float:
        """Once its bytes have had their time behind the ones before them."""
        return last + size(piece) / self._rate
