"""What stands between a connection's transport and the gateway while faults lie on it.

Rules: to the transport a line is the protocol, to the gateway its front is the transport; neither can tell. Pieces
pass the effects in the order in which the faults were switched on, both ways. What effects keep is bounded: beyond
that, its sender waits. When nothing is left to do, the line steps out of the way and costs nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.faults.effect import Effect, End, Party, Piece, Way

if TYPE_CHECKING:
    from gateway.faults.registry import Switched

#: bytes that effects keep of one way, after which the sender waits, and at which it goes on
_HIGH: Final = 65_536
_LOW: Final = 16_384
#: seconds that a client gets to read the last words when they have come late
_LINGER: Final = 5.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class Front(asyncio.Transport):
    """The transport as the gateway sees it."""

    def __init__(self, line: Line, wire: asyncio.Transport) -> None:
        super().__init__()
        self._line = line
        self._wire = wire

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the socket says."""
        return self._wire.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether the gateway has closed it, or it is gone."""
        return self._line.closing or self._wire.is_closing()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send, through the effects."""
        self._line.say(bytes(data))

    def close(self) -> None:
        """Close behind what was written."""
        self._line.say(End.CLOSE)

    def abort(self) -> None:
        """Close at once."""
        self._line.abandon()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._line.pause("gateway")

    def resume_reading(self) -> None:
        """Read on."""
        self._line.unpause("gateway")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the socket's transport does."""
        self._wire.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """What the socket has not taken; what effects keep is not counted, so that it may come late."""
        return self._wire.get_write_buffer_size()


class Line(asyncio.Protocol):
    """One connection with faults on it."""

    def __init__(self, party: Party, gone: Callable[[Line], None]) -> None:
        self.party = party
        self.loop = asyncio.get_running_loop()
        self.closing = False  # the gateway has closed it
        self._over = False
        self._gone = gone
        self._effects: dict[Switched, Effect] = {}
        self._undecided: list[Switched] = []  # faults of which it is not known yet whether they come here
        self._unread: deque[Piece] = deque()  # what the gateway does not want to read now
        self._pauses: set[str] = set()  # who keeps us from reading
        self._jams: set[str] = set()  # who keeps the gateway from writing
        self._held = dict.fromkeys(Way, 0)
        self._linger: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None

    # -- coming and going ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection."""
        self._wire = cast(asyncio.Transport, transport)
        cast(asyncio.BaseProtocol, self.party).connection_made(Front(self, self._wire))

    def enter(self) -> None:
        """Stand in the way of an open connection."""
        self._wire = wire = self.party.transport
        if not wire.is_reading():
            self._pauses.add("gateway")
        if not self.party.writable:
            self._jams.add("wire")
        wire.set_protocol(self)
        self.party.transport = Front(self, wire)

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._stop()
        if self._linger is not None:
            self._linger.cancel()
        cast(asyncio.BaseProtocol, self.party).connection_lost(error)

    def _stop(self) -> None:
        self._over = True
        for effect in self._effects.values():
            effect.stop()
        self._effects.clear()
        self._undecided.clear()
        self._unread.clear()
        self._gone(self)

    def _step_aside(self) -> None:
        """Once there is nothing to do and nothing kept, the connection is as it would be without us."""
        wire = self._wire
        if self._effects or self._undecided or self._unread or self.closing or wire is None or wire.is_closing():
            return
        wire.set_protocol(cast(asyncio.BaseProtocol, self.party))
        self.party.transport = wire
        self._gone(self)

    # -- faults -------------------------------------------------------------------------------------------------------

    def add(self, *switched: Switched) -> None:
        """Faults that may come to this connection."""
        self._undecided += switched
        self._decide(has_read=True)
        self._step_aside()

    def lift(self, switched: Switched) -> None:
        """A fault is switched off."""
        if switched in self._undecided:
            self._undecided.remove(switched)
        effect = self._effects.get(switched)
        if effect is not None:
            effect.lift()
            self._effects.pop(switched, None)
        self._step_aside()

    def _decide(self, has_read: bool) -> None:
        for switched in tuple(self._undecided):
            comes = None if self._over else switched.fault.comes_to(self.party, has_read)
            if comes is None:
                continue
            self._undecided.remove(switched)
            if comes and switched.claim():
                effect = switched.fault.effect(self, self.party.channel)
                self._effects[switched] = effect
                effect.begin()

    # -- pieces -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """From the client."""
        self._enter_way(Way.TO_GATEWAY, data)

    def eof_received(self) -> bool:
        """The client will send nothing more; what that means is the gateway's decision, when it gets there."""
        self._enter_way(Way.TO_GATEWAY, End.FIN)
        return True

    def say(self, piece: Piece) -> None:
        """From the gateway."""
        if self.closing or self._over:
            return
        self.closing = piece is End.CLOSE
        if self._undecided:
            self._decide(has_read=False)
        self._enter_way(Way.TO_CLIENT, piece)

    def _enter_way(self, way: Way, piece: Piece) -> None:
        first = next(iter(self._effects.values()), None)
        if first is None:
            self._arrive(way, piece)
        else:
            first.take(way, piece)

    def forward(self, way: Way, piece: Piece, behind: Effect) -> None:
        """Hand a piece to the effect that comes next, or to its receiver."""
        effects = list(self._effects.values())
        position = effects.index(behind) + 1 if behind in effects else len(effects)
        if position < len(effects):
            effects[position].take(way, piece)
        else:
            self._arrive(way, piece)

    def _arrive(self, way: Way, piece: Piece) -> None:
        if way is Way.TO_CLIENT:
            self._send(piece)
        elif not (self.closing or self._over):
            self._unread.append(piece)
            self._deliver()

    def _deliver(self) -> None:
        while self._unread and "gateway" not in self._pauses and not self.closing:
            piece = self._unread.popleft()
            if isinstance(piece, bytes):
                self._feed(piece)
            elif not cast(asyncio.BufferedProtocol, self.party).eof_received():
                self.say(End.CLOSE)
            if self._undecided:
                self._decide(has_read=True)
        self._step_aside()

    def _feed(self, data: bytes) -> None:
        reader = cast(asyncio.BufferedProtocol, self.party)
        while data and not self.closing:
            buffer = memoryview(reader.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            reader.buffer_updated(count)
            data = data[count:]

    def _send(self, piece: Piece) -> None:
        wire = self._wire
        if wire is None or wire.is_closing():
            return
        if isinstance(piece, bytes):
            wire.write(piece)
        elif piece is End.FIN:
            wire.write_eof()
        else:
            wire.close()
            if wire.get_write_buffer_size():
                self._linger = self.loop.call_later(_LINGER, wire.abort)

    def reset(self) -> None:
        """End the connection with a TCP reset, now."""
        assert self._wire is not None
        plug = self._wire.get_extra_info("socket")
        if plug is not None and plug.fileno() >= 0:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.abandon()

    def abandon(self) -> None:
        """Close the socket, now."""
        assert self._wire is not None
        self._stop()
        self._wire.abort()

    # -- who waits for whom -------------------------------------------------------------------------------------------

    def hold(self, way: Way, count: int) -> None:
        """So many bytes more (or less) wait in an effect; too many make the sender wait."""
        self._held[way] += count
        full, empty = self._held[way] > _HIGH, self._held[way] <= _LOW
        if way is Way.TO_GATEWAY:
            if full:
                self.pause("held")
            elif empty:
                self.unpause("held")
        elif full:
            self._jam("held")
        elif empty:
            self._unjam("held")

    def pause(self, who: str) -> None:
        """Stop reading, for this one."""
        self._pauses.add(who)
        if self._wire is not None:
            self._wire.pause_reading()

    def unpause(self, who: str) -> None:
        """Read on, unless somebody else does not want to."""
        if who not in self._pauses:
            return
        self._pauses.remove(who)
        if not self._pauses and self._wire is not None:
            self._wire.resume_reading()
        if who == "gateway" and self._unread:
            self.loop.call_soon(self._deliver)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._jam("wire")

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._unjam("wire")

    def _jam(self, who: str) -> None:
        if not self._jams and not self.closing:
            cast(asyncio.BaseProtocol, self.party).pause_writing()
        self._jams.add(who)

    def _unjam(self, who: str) -> None:
        if who in self._jams:
            self._jams.remove(who)
            if not self._jams and not self.closing:
                cast(asyncio.BaseProtocol, self.party).resume_writing()
