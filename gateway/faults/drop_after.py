"""`drop-after`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gateway.faults.counted import CountedFault
from gateway.faults.effect import Effect, End, Link, Piece, Way
from gateway.faults.fault import Direction, ways


class DropAfter(CountedFault):
    """Each way lets so many bytes pass; the rest vanishes, or the connection is cut."""

    name: ClassVar[str] = "drop-after"

    direction: Direction = Field(default="both", description="where: to-gateway, to-client or both, each counted alone")
    cut: bool = Field(default=False, description="close the connection instead")

    def effect(self, line: Link, seed: str) -> Effect:
        """Count each way."""
        return _DropAfter(line, self)


class _DropAfter(Effect):
    def __init__(self, line: Link, fault: DropAfter) -> None:
        super().__init__(line)
        self._left = dict.fromkeys(ways(fault.direction), fault.after)
        self._cut = fault.cut
        self._dropped = False

    def begin(self) -> None:
        """Nothing may have to pass first."""
        if self._cut and not all(self._left.values()):
            self.line.forward(Way.TO_CLIENT, End.CLOSE, self)

    def take(self, way: Way, piece: Piece) -> None:
        """Count what passes; ends always do."""
        if isinstance(piece, End) or way not in self._left:
            self.line.forward(way, piece, self)
            return
        first, rest = piece[: self._left[way]], piece[self._left[way] :]
        self._left[way] -= len(first)
        self._dropped = self._dropped or bool(rest)
        if first:
            self.line.forward(way, first, self)
            if self._cut and not self._left[way]:
                self.line.forward(Way.TO_CLIENT, End.CLOSE, self)

    def lift(self) -> None:
        """A connection that has lost bytes cannot go on."""
        if self._dropped:
            self.line.reset()
