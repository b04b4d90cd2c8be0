"""The socket and the TLS below a connection: bytes in, bytes out, and how it ends underneath.

Rule: what is decrypted goes to `_consume`; what goes wrong below MQTT is told here, and ends the connection.
Source: MqttAdapter.cs in Azure/azure-iot-protocol-gateway (ExceptionCaught).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from gateway.broker.tls import OpenSslSession, PeerClosedError, TlsFailedError

if TYPE_CHECKING:
    from gateway.broker.carrier import Carrier
    from gateway.broker.connection import Connection
    from gateway.broker.server import Server

#: how far a connection has come: TLS, waiting for CONNECT, CONNECT being judged, connected, ended
HANDSHAKE, WAITING, JUDGING, OPEN, CLOSED = range(5)
#: largest answer that a peer who does not read may leave unsent before we stop reading from it
_WRITE_LIMIT: Final = 65_536


class Secured(asyncio.BufferedProtocol, ABC):
    """The lower half of a connection."""

    __slots__ = (
        "_heard", "_server", "_state", "_tls", "_transport", "address", "carrier", "channel", "deadline", "writable",
    )  # fmt: skip
    _transport: asyncio.Transport
    carrier: Carrier | None  # what lies between TLS and MQTT, if anything does

    def __init__(self, server: Server) -> None:
        self._server = server
        self._state = HANDSHAKE
        self._tls: OpenSslSession = server.tls.session()
        self._heard = False
        self.writable = True  # whether the peer reads what it is sent
        self.deadline = server.clock.monotonic() + server.settings.connect_timeout
        self.channel = server.next_channel()  # eight hex digits that the log names the connection by
        self.address = ("", 0)

    @property
    def peer(self) -> str:
        """Where the connection comes from, as address:port."""
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def established(self) -> bool:
        """Whether the TLS handshake is over."""
        return self._tls.established

    @property
    def transport(self) -> asyncio.Transport:
        """Where it writes to; another one may be put before it."""
        return self._transport

    @transport.setter
    def transport(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    @property
    @abstractmethod
    def client_id(self) -> str | None:
        """The client id, once CONNECT has been read."""

    @abstractmethod
    def _consume(self, plain: bytes) -> None:
        """Take what was decrypted."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """Close; `reason` says why a session ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the peer has until the CONNECT deadline."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_LIMIT)
        self.address = transport.get_extra_info("peername")[:2]
        self._server.connections.add(cast("Connection", self))
        if self._server.stopping:  # accepted in the last moment
            self.end("the gateway is stopping")

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone; a reset is a closed channel to the product as well."""
        self._gone()
        self._server.closing.discard(self)

    def pause_writing(self) -> None:
        """The peer does not read its answers: stop reading from it until it does."""
        self.writable = False
        self._transport.pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put incoming bytes; they are consumed before the next read, so all connections share it."""
        return self._server.read_buffer

    def eof_received(self) -> None:
        """The peer will send nothing more, and so the connection ends."""

    def buffer_updated(self, count: int) -> None:
        """Bytes have arrived."""
        if self._state == CLOSED:
            return
        self._heard = True
        try:
            plain = self._tls.receive(self._server.read_buffer[:count])
        except (PeerClosedError, TlsFailedError) as ending:
            self._tls_ended(ending)
            return
        if self._state == HANDSHAKE:
            self._send_encrypted()
            if not self._tls.established:
                return
            self._state = WAITING
        if plain:
            self._consume(plain if self.carrier is None else self.carrier.receive(plain))
            if self._tls.ending is not None:
                self._tls_ended(self._tls.ending)
        else:
            self._send_encrypted()  # what OpenSSL answers by itself: key updates, a renegotiation refused

    def _tls_ended(self, failure: PeerClosedError | TlsFailedError) -> None:
        if self._state == CLOSED:
            return
        if self._state == HANDSHAKE and self._tls.established:
            self._state = WAITING  # the handshake's end and the farewell came in one segment
        if isinstance(failure, PeerClosedError):
            self._gone()
            return
        if failure.farewell:
            self._transport.write(failure.farewell)
        if self._state in (HANDSHAKE, WAITING):
            self._server.report.handshake_failed(self, self._tls.server_name(), failure)
        self.end(failure.reason)

    def _gone(self) -> None:
        """The peer has left; many clients judge a certificate after the handshake and refuse it without a word."""
        where = {HANDSHAKE: "during the handshake", WAITING: "after the handshake, without CONNECT"}.get(self._state)
        if where is not None and self._heard and (self.carrier is None or not self.carrier.heard):
            silence = TlsFailedError(f"the client left {where}", None, None)
            self._server.report.handshake_failed(self, self._tls.server_name(), silence)
        self.end("Channel closed.")

    def certificates(self) -> Sequence[bytes]:
        """What the client showed in the handshake (DER), its own certificate first."""
        return self._tls.peer().certificates

    def abort(self) -> None:
        """Close the socket of an ended connection without waiting for the peer to read."""
        self._transport.abort()

    def _send_encrypted(self) -> None:
        if data := self._tls.outgoing():
            self._transport.write(data)
