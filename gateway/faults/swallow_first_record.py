"""`swallow-first-record`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from gateway.faults.effect import Effect, Link, Party, Piece, Way
from gateway.faults.fault import Fault

_HEADER = 5  # type, version, length (RFC 8446, 5.1)


class SwallowFirstRecord(Fault):
    """The first TLS record of a connection vanishes: the ClientHello, as in a firewall that drops it."""

    name: ClassVar[str] = "swallow-first-record"
    on_wire: ClassVar[bool] = True
    for_open: ClassVar[bool] = False

    sender: Literal["client", "gateway"] = Field(default="client", description="whose first record")
    connections: int | None = Field(default=None, ge=1, description="for so many connections at most")

    @property
    def most(self) -> int | None:
        """How many connections it comes to at most."""
        return self.connections

    def comes_to(self, party: Party, has_read: bool) -> bool | None:
        """From the first byte on, or never."""
        return True

    def effect(self, line: Link, seed: str) -> Effect:
        """Drop one record."""
        return _Swallow(line, Way.TO_GATEWAY if self.sender == "client" else Way.TO_CLIENT)


class _Swallow(Effect):
    def __init__(self, line: Link, way: Way) -> None:
        super().__init__(line)
        self._way = way
        self._header = b""
        self._left: int | None = None  # bytes of the record that are still to come; None: its header is

    def take(self, way: Way, piece: Piece) -> None:
        """Drop what belongs to the record."""
        if way is not self._way or not isinstance(piece, bytes) or self._left == 0:
            self.line.forward(way, piece, self)
            return
        if self._left is None:
            missing = _HEADER - len(self._header)
            self._header += piece[:missing]
            piece = piece[missing:]
            if len(self._header) < _HEADER:
                return
            self._left = int.from_bytes(self._header[3:], "big")
        dropped = min(self._left, len(piece))
        self._left -= dropped
        if piece[dropped:]:
            self.line.forward(way, piece[dropped:], self)

    def lift(self) -> None:
        """A connection that has lost bytes cannot go on."""
        if self._header:
            self.line.reset()
