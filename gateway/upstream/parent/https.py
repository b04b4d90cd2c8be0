"""One HTTPS request to the gateway above, on a connection of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import h11

from gateway.upstream.parent.errors import ParentError, of_tls, words
from gateway.upstream.parent.place import Parent

_LARGEST_BODY = 1 << 26  # 64 MB: some hundred thousand identities


async def post(
    parent: Parent, context: ssl.SSLContext, path: str, *, token: str, document: Mapping[str, Any]
) -> tuple[int, Any]:
    """POST a JSON document; returns the status and the JSON of the answer (None if it is none). Raises ParentError."""
    where, body = parent.https, json.dumps(document).encode()
    headers = [
        ("Host", parent.hostname),
        ("Authorization", token),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    head = h11.Request(method="POST", target=path, headers=headers)
    try:
        reader, writer = await asyncio.open_connection(*where, ssl=context, server_hostname=parent.hostname)
    except ssl.SSLError as wrong:
        raise of_tls(wrong) from None
    except (socket.gaierror, UnicodeError):
        raise ParentError("dns", f"{where[0]} does not resolve") from None
    except OSError as wrong:
        raise ParentError("tcp", f"cannot connect to {where[0]}:{where[1]}: {words(wrong)}") from None
    try:
        return await _exchange(reader, writer, head, body)
    except (h11.RemoteProtocolError, OSError) as wrong:
        raise ParentError("http", f"the answer broke off: {type(wrong).__name__}") from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: h11.Request, body: bytes
) -> tuple[int, Any]:
    http = h11.Connection(h11.CLIENT)
    for part in (head, h11.Data(body), h11.EndOfMessage()):
        writer.write(http.send(part) or b"")
    await writer.drain()
    status, found = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            found += event.data
            if len(found) > _LARGEST_BODY:
                raise ParentError("http", f"an answer of more than {_LARGEST_BODY} bytes")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return status, _json(bytes(found))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
