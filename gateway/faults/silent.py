"""`silent`."""

from __future__ import annotations

from typing import ClassVar

from gateway.faults.effect import Effect, End, Link, Piece, Way, size
from gateway.faults.fault import WireFault


class Silent(WireFault):
    """Connections are accepted and stay silent, as by a process that hangs; once it is switched off they go on."""

    name: ClassVar[str] = "silent"

    def effect(self, line: Link, seed: str) -> Effect:
        """Keep everything."""
        return _Silence(line)


class _Silence(Effect):
    def __init__(self, line: Link) -> None:
        super().__init__(line)
        self._kept: dict[Way, list[Piece]] = {Way.TO_CLIENT: [], Way.TO_GATEWAY: []}
        self._lifted = False

    def take(self, way: Way, piece: Piece) -> None:
        """Keep it; a client that leaves is let go, or its socket would stay for ever."""
        if self._lifted:
            self.line.forward(way, piece, self)
        elif piece is End.FIN:
            self.line.abandon()
        else:
            self._kept[way].append(piece)
            self.line.hold(way, size(piece))

    def lift(self) -> None:
        """The process goes on where it was."""
        self._lifted = True
        for way, kept in self._kept.items():  # first what the gateway has said already, for it may answer to the rest
            for piece in kept:
                self.line.hold(way, -size(piece))
                self.line.forward(way, piece, self)

    def stop(self) -> None:
        """Nothing is kept for nobody."""
        for kept in self._kept.values():
            kept.clear()
