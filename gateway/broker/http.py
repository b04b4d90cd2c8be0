"""HTTP on the port that also takes WebSockets: requests are answered, upgrades become a WebSocket that carries MQTT.

Rules: one request at a time, and the memory for it is bounded: head and body have a limit, and so has what arrives
while an answer is waited for.
Sources: Startup.cs and WebSocketHandlingMiddleware.cs of Azure/iotedge; RFC 9112.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11

from gateway.broker import websocket
from gateway.broker.carrier import Host
from gateway.broker.routes import HttpAnswer, HttpRequest, Routes, text
from gateway.clock import Clock
from gateway.config import Settings

_LARGEST_HEAD: Final = 32_768  # Kestrel's MaxRequestHeadersTotalSize
_LARGEST_BODY: Final = 262_144  # a method's payload may have half of it
_WAITING_BYTES: Final = 65_536  # that a peer may send ahead of an answer
_WAITING_REQUESTS: Final = 32  # that may come in one piece
_IDLE_SECONDS: Final = 130.0  # Kestrel's KeepAliveTimeout


class HttpCarrier:
    """Carrier of the HTTPS listener."""

    def __init__(self, host: Host, routes: Routes, clock: Clock, settings: Settings) -> None:
        self.heard = False
        self.ended: str | None = None
        self._host = host
        self._routes = routes
        self._clock = clock
        self._settings = settings
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._asked = False  # an answer is waited for
        self._reading = False
        self._output: list[bytes] = []

    # -- what the connection calls ------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> bytes:
        """See Carrier."""
        self.heard = True
        self._reading = True
        try:
            self._http.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as wrong:
            # What is wrong is quoted behind the colon, and may be a token.
            self._fail(wrong.error_status_hint, f"not HTTP: {str(wrong).partition(':')[0]}")
            return b""
        finally:
            self._reading = False

    def wrap(self, packets: list[bytes]) -> list[bytes]:
        """See Carrier."""
        said, self._output = self._output, []
        return said

    def expire(self) -> bool:
        """See Carrier."""
        if not self.heard:
            return False
        if self._asked:
            self._fail(HTTPStatus.GATEWAY_TIMEOUT, "a request was not answered in time")
        elif self._request is None and not self._http.trailing_data[0]:
            self.ended = ""
        else:
            self._fail(HTTPStatus.REQUEST_TIMEOUT, "Connection timed out on waiting for the rest of a request")
        return True

    def close(self) -> None:
        """See Carrier: HTTP has no farewell."""

    # -- requests -----------------------------------------------------------------------------------------------------

    def _read(self) -> bytes:
        handled = 0
        while self.ended is None:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
                break
            if event is h11.PAUSED:
                self._bound()
                break
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > _LARGEST_BODY:
                    self._too_large()
            elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                handled += 1
                if handled > _WAITING_REQUESTS:
                    self._fail(HTTPStatus.BAD_REQUEST, f"more than {_WAITING_REQUESTS} requests at once")
                elif _is_upgrade(self._request):
                    return self._upgrade(self._request)
                else:
                    self._ask(self._request)
        return b""

    def _begin(self, request: h11.Request) -> None:
        self._request = request
        if request.http_version not in (b"1.0", b"1.1"):
            version = request.http_version.decode("latin-1")
            self._fail(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version}, of which only 1.1 is offered")
        elif int(dict(request.headers).get(b"content-length", 0)) > _LARGEST_BODY:
            self._too_large()

    def _too_large(self) -> None:
        self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request body of more than {_LARGEST_BODY} bytes")

    def _bound(self) -> None:
        if len(self._http.trailing_data[0]) > _WAITING_BYTES:
            self.ended = "the client sends on while it waits for an answer"

    def _ask(self, request: h11.Request) -> None:
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = tuple(_decoded(request.headers))
        whole = HttpRequest(request.method.decode("latin-1"), path, query, headers, bytes(self._body))
        self._body.clear()
        self._asked = True
        patience = self._routes.dispatch(whole, self._host, self._reply)
        if self._asked:
            self._host.deadline = self._clock.monotonic() + patience

    def _reply(self, answer: HttpAnswer) -> None:
        """Answer the request at hand; whatever comes after the connection has ended reaches nobody."""
        if not self._asked or self.ended is not None:
            return
        self._asked = False
        self._respond(answer, close=not self._reading and bool(self._http.trailing_data[0]))
        self._host.deadline = self._clock.monotonic() + _IDLE_SECONDS
        if not self._reading:
            self._host.speak()

    def _fail(self, status: int, reason: str) -> None:
        """Say what is wrong, and end the connection."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._respond(text(status, f"{reason}\n"), close=True)
        self.ended = reason

    def _respond(self, answer: HttpAnswer, *, close: bool = False) -> None:
        headers = [("Date", formatdate(usegmt=True)), ("Content-Length", str(len(answer.body)))]
        headers += [("X-Content-Type-Options", "nosniff"), *answer.headers]
        if answer.content_type is not None:
            headers.append(("Content-Type", answer.content_type))
        if close:
            headers.append(("Connection", "close"))
        self._send(h11.Response(status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase))
        if answer.body:
            self._send(h11.Data(data=answer.body))
        self._send(h11.EndOfMessage())
        self._request = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        elif self.ended is None:
            self.ended = ""

    def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._output.append(data)

    # -- WebSocket ----------------------------------------------------------------------------------------------------

    def _upgrade(self, request: h11.Request) -> bytes:
        headers = list(_decoded(request.headers))
        offered = [part for name, value in headers if name == "sec-websocket-protocol" for part in value.split(",")]
        socket = websocket.WebSocket(2 * self._settings.max_packet_size)
        wrong = websocket.refusal([name.strip() for name in offered if name.strip()])
        wrong = wrong or socket.accept(request.target.decode("latin-1"), headers)
        if wrong is not None:
            self._fail(HTTPStatus.BAD_REQUEST, wrong)
            return b""
        socket.before, self._output = self._output + socket.before, []
        self._host.carrier = socket
        self._host.deadline = self._clock.monotonic() + self._settings.connect_timeout
        self._routes.report.websocket(self._host)
        return socket.receive(bytes(self._http.trailing_data[0]))


def _is_upgrade(request: h11.Request) -> bool:
    upgrades = [value.lower() for name, value in request.headers if name == b"upgrade"]
    return request.method == b"GET" and request.http_version == b"1.1" and b"websocket" in upgrades


def _decoded(headers: h11._headers.Headers) -> Sequence[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
