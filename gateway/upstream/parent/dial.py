"""A TLS connection to the gateway above, on the event loop and as a socket that paho can use.

asyncio's own TLS has no socket to hand over, and keeps a fatal alert to itself that the other side wants to know.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from gateway.upstream.parent.errors import ParentError, of_tls, words


async def dial(where: tuple[str, int], name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect to `where`, and verify that it is `name`. Raises ParentError."""
    plug = await _tcp(where)
    try:
        secured = context.wrap_socket(plug, server_hostname=name, do_handshake_on_connect=False)
    except (OSError, ValueError) as wrong:
        plug.close()
        raise ParentError("tls", str(wrong)) from None
    try:
        await _handshake(secured)
    except ssl.SSLError as wrong:
        secured.close()
        raise of_tls(wrong) from None
    except OSError as wrong:
        secured.close()
        raise ParentError("tls", f"the connection broke in the handshake: {words(wrong)}") from None
    except BaseException:
        secured.close()
        raise
    return secured


async def _tcp(where: tuple[str, int]) -> socket.socket:
    loop = asyncio.get_running_loop()
    host, port = where
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ParentError("dns", f"{host} does not resolve") from None
    reason = "it has no address"
    for family, kind, protocol, _, address in found:
        plug = socket.socket(family, kind, protocol)
        plug.setblocking(False)
        try:
            await loop.sock_connect(plug, address)
        except OSError as wrong:
            plug.close()
            reason = words(wrong)
        except BaseException:
            plug.close()
            raise
        else:
            return plug
    raise ParentError("tcp", f"cannot connect to {host}:{port}: {reason}")


async def _handshake(plug: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            plug.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(plug, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(plug, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(plug: ssl.SSLSocket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(plug, wake)
    try:
        await ready
    finally:
        remove(plug)
