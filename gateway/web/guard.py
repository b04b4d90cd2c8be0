"""Who may talk to an HTTP server of this machine: a developer's programs, and no web page that the browser has open.

Rule 1: on loopback the Host header has to be one of our names; a page that rebinds its own name to 127.0.0.1 cannot
send one (DNS rebinding).
Rule 2: a request that a page of another origin makes is refused (Origin, Fetch Metadata); a link may be followed.
Rule 3: on any other address whoever asks needs the token.
Sources: WHATWG Fetch (Origin header), W3C Fetch Metadata Request Headers, RFC 6750 (Bearer), RFC 9110, 15.5.20 (421).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: IoT Hub takes 512 KiB in a bulk request of its registry; nothing else is larger
MOST_BODY = 1 << 20


class Guard:
    """An ASGI application that lets through to `app` whom the rules above allow, and bounds what a request may bring.

    `names` are the server's own names beside localhost; without `token` only rules 1 and 2 hold.
    """

    def __init__(
        self, app: Application, *, names: Collection[str] = (), token: str | None = None, any_host: bool = False
    ) -> None:
        self._app = app
        self._names = LOOPBACK_NAMES | {name.lower() for name in names}
        self._token = token
        self._any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, _bounded(receive), send)
        else:
            await _answer(send, *refusal)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._any_host and name_of(host) not in self._names:
            return 421, f"this server is not called {host!r}"
        if not _same_origin(scope, headers, host):
            return 403, "a page of another origin may not ask"
        if self._token is not None and not _has_token(headers.get("authorization", ""), self._token):
            return 401, "this needs the token that the gateway printed: Authorization: Bearer TOKEN"
        if not _fits(headers.get("content-length", "0")):
            return 413, f"a request has at most {MOST_BODY} bytes"
        return None


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`, an IP address or localhost."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def name_of(host: str) -> str:
    """The name in a Host header, lower-case and without port."""
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return (host if end <= 0 else host[:end]).lower()


def _same_origin(scope: Scope, headers: dict[str, str], host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"{scope['scheme']}://{host}".lower():
        return False
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    return scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"


def _has_token(authorization: str, token: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _fits(length: str) -> bool:
    return length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MOST_BODY


def _bounded(receive: Receive) -> Receive:
    """The same for a body that comes in chunks: past the bound it ends as if the client had left."""
    taken = 0

    async def bounded() -> Event:
        nonlocal taken
        event = await receive()
        taken += len(event.get("body", b""))
        return {"type": "http.disconnect"} if taken > MOST_BODY else event

    return bounded


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"Message": message}).encode()
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
