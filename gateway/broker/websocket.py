"""MQTT over WebSocket.

Rules: frames are a byte stream: where MQTT packets begin and end has nothing to do with them (MQTT 3.1.1, section 6);
every packet goes out as one binary frame; we never ping, since clients of the product are known to break on it.
Sources: ServerWebSocketChannel.cs, WebSocketListenerRegistry.cs and Startup.cs of Azure/iotedge; RFC 6455.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

MQTT: Final = Subprotocol("mqtt")
_AMQP: Final = "amqpwsb10"
_NORMAL_CLOSURE: Final = 1000
_REASON_TOLD: Final = 200  # characters, since a part of it is what the client sent

# At debug level the library logs frames, and a CONNECT has a token in it.
_log = logging.Logger("leafgate.websocket", logging.WARNING)
_log.parent = logging.getLogger("leafgate")


def refusal(offered: Sequence[str]) -> str | None:
    """Why sub-protocols that a client offers are refused; None when `mqtt` is among them, in any case."""
    names = [name.strip().lower() for name in offered]
    if MQTT in names:
        return None
    if _AMQP in names:
        return "AMQP over WebSocket (sub-protocol AMQPWSB10) is not offered by this gateway, MQTT (mqtt) is"
    said = f"not {', '.join(offered)}"[:_REASON_TOLD] if offered else "and the client asks for none"
    return f"the WebSocket sub-protocol has to be mqtt, {said}"


class _Protocol(ServerProtocol):
    """The library's protocol, with its limit on frames instead of messages: a message may be a connection long."""

    def recv_frame(self, frame: Frame) -> None:
        super().recv_frame(frame)
        if self.cur_size is not None:
            self.cur_size = 0


def _mqtt(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    return MQTT


class WebSocket:
    """The carrier on an open WebSocket. Frames of more than `largest` bytes are refused."""

    __slots__ = ("_closing", "_protocol", "before", "ended", "heard")

    def __init__(self, largest: int) -> None:
        self.heard = True
        self.ended: str | None = None
        self._closing = False
        self.before: list[bytes] = []  # what goes out before the first frame
        # No extensions are named, so none is granted: permessage-deflate neither.
        # Open from the start, because the request has been read by others.
        self._protocol = _Protocol(select_subprotocol=_mqtt, state=State.OPEN, max_size=largest, logger=_log)

    def accept(self, path: str, headers: Sequence[tuple[str, str]]) -> str | None:
        """Answer a client's request; returns what is wrong with it, None when the WebSocket is open."""
        response = self._protocol.accept(Request(path, Headers(headers)))
        if response.status_code != 101:
            return str(self._protocol.handshake_exc)[:_REASON_TOLD]
        self.before.append(response.serialize())
        return None

    def receive(self, data: bytes) -> bytes:
        """See Carrier."""
        protocol = self._protocol
        protocol.receive_data(data)
        parts = []
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                parts.append(bytes(frame.data))
            elif frame.opcode is Opcode.TEXT:
                # The product throws the connection away without a close frame.
                self.ended = "ProtocolViolationException: Mqtt over WS message cannot be in text"
                break
        if self.ended is None and protocol.state is not State.OPEN:
            self.ended = f"WebSocket: {protocol.parser_exc}" if protocol.parser_exc is not None else ""
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def wrap(self, packets: list[bytes]) -> list[bytes]:
        """See Carrier."""
        if self.ended is None:
            for packet in packets:
                self._protocol.send_binary(packet)
            if self._closing:
                self.ended = ""
                self._protocol.send_close(_NORMAL_CLOSURE)
        said, self.before = self.before + self._protocol.data_to_send(), []
        return [data for data in said if data]  # the library marks the end with empty bytes

    def expire(self) -> bool:
        """See Carrier."""
        return False

    def close(self) -> None:
        """See Carrier."""
        self._closing = True
