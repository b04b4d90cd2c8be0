"""`delay`."""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import Field

from gateway.faults.effect import Effect, Link, Piece
from gateway.faults.fault import Direction, WireFault, ways
from gateway.faults.timed import Timed


class Delay(WireFault):
    """Everything takes longer to arrive, and stays in order."""

    name: ClassVar[str] = "delay"

    seconds: float = Field(ge=0, le=3_600, description="how much longer, each way")
    jitter: float = Field(default=0, ge=0, le=3_600, description="seconds that it may be more or less")
    seed: int | None = Field(default=None, description="makes the jitter repeat")
    direction: Direction = Field(default="both", description="what is late: to-gateway, to-client or both")

    def effect(self, line: Link, seed: str) -> Effect:
        """Keep each piece for its time."""
        return _Late(line, self, random.Random(None if self.seed is None else f"{self.seed}/{seed}"))


class _Late(Timed):
    def __init__(self, line: Link, fault: Delay, chance: random.Random) -> None:
        super().__init__(line, ways(fault.direction))
        self._fault = fault
        self._chance = chance

    def due(self, piece: Piece, last: float) -> float:
        """So many seconds from now."""
        jitter = self._chance.uniform(-self._fault.jitter, self._fault.jitter) if self._fault.jitter else 0
        return self.line.loop.time() + max(0.0, self._fault.seconds + jitter)
