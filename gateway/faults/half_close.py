"""`half-close`."""

from __future__ import annotations

from typing import ClassVar

from gateway.faults.counted import Counted, CountedFault
from gateway.faults.effect import Effect, End, Link, Piece, Way


class HalfClose(CountedFault):
    """The gateway's side is closed (FIN, without TLS close_notify) while the gateway reads on."""

    name: ClassVar[str] = "half-close"

    def effect(self, line: Link, seed: str) -> Effect:
        """Close one way."""
        return _HalfClose(line, self)


class _HalfClose(Counted):
    def strike(self) -> None:
        """The client gets what has passed, then the end."""
        self.line.forward(Way.TO_CLIENT, End.FIN, self)

    def after_strike(self, way: Way, piece: Piece) -> None:
        """The gateway speaks to nobody, and hears everything."""
        if way is Way.TO_GATEWAY or piece is End.CLOSE:
            self.line.forward(way, piece, self)

    def lift(self) -> None:
        """What is closed stays closed: the connection ends."""
        if self.struck:
            self.line.forward(Way.TO_CLIENT, End.CLOSE, self)
