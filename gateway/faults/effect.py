"""What a fault does to one connection: pieces of its two streams pass through it, or do not.

Rule: an effect never talks to a socket or to the gateway. What it lets pass it hands to its line, which knows who is
next; what it keeps is dropped when the connection ends, and its timers with it.
"""

from __future__ import annotations

import asyncio
from enum import Enum, StrEnum
from typing import Protocol


class Way(StrEnum):
    """Which of the two streams of a connection."""

    TO_GATEWAY = "to-gateway"
    TO_CLIENT = "to-client"


class End(Enum):
    """What comes behind the last byte."""

    FIN = "the sender sends nothing more, and still reads"
    CLOSE = "the gateway closes the connection"


Piece = bytes | End


class Party(Protocol):
    """The gateway's end of a connection, as faults know it: an asyncio.BufferedProtocol with a few facts."""

    transport: asyncio.Transport
    channel: str
    writable: bool

    @property
    def client_id(self) -> str | None:
        """The client id, once CONNECT has been read."""

    @property
    def established(self) -> bool:
        """Whether the TLS handshake is over."""

    def close(self, reason: str) -> None:
        """End the connection in good order."""


class Link(Protocol):
    """A line as its effects see it."""

    loop: asyncio.AbstractEventLoop
    party: Party

    def forward(self, way: Way, piece: Piece, behind: Effect) -> None:
        """Hand a piece to the effect that comes next, or to its receiver."""

    def hold(self, way: Way, count: int) -> None:
        """So many bytes more (or less) wait in an effect; too many make the sender wait."""

    def reset(self) -> None:
        """End the connection with a TCP reset, now."""

    def abandon(self) -> None:
        """Close the socket, now."""


class Effect:
    """The base of all effects lets everything pass."""

    def __init__(self, line: Link) -> None:
        self.line = line

    def begin(self) -> None:
        """The fault has come to this connection."""

    def take(self, way: Way, piece: Piece) -> None:
        """A piece has come this far."""
        self.line.forward(way, piece, self)

    def lift(self) -> None:
        """The fault is switched off, and the connection is still there: let go of what is kept."""

    def stop(self) -> None:
        """The connection is over."""


def size(piece: Piece) -> int:
    """How many bytes a piece has."""
    return len(piece) if isinstance(piece, bytes) else 0
