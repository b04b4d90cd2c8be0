"""A listening port that can be shut for a while, so that the machine itself refuses connections.

Rule: while it is shut the port stays ours: a socket that is bound and does not listen keeps it, and the kernel answers
with a reset, which a client knows as ECONNREFUSED.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.ports import bind

_BACKLOG = 1_024


class Listener:
    """One listener, open from `open` on."""

    def __init__(self, accept: Callable[[], asyncio.BaseProtocol], bound: socket.socket) -> None:
        self._accept = accept
        self._socket = bound
        self._address = bound.getsockname()
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Its port."""
        port: int = self._address[1]
        return port

    async def open(self) -> None:
        """Take connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=self._socket, backlog=_BACKLOG)

    def shut(self) -> None:
        """Refuse connections; those that nobody has accepted yet are reset."""
        self.close()
        self._socket = bind(*self._address[:2])

    def reopen(self) -> None:
        """Take connections again: they wait from now on, and are served in this loop's next turns."""
        self._socket.close()
        self._socket = bind(*self._address[:2])
        self._socket.listen(_BACKLOG)
        self._opening = asyncio.get_running_loop().create_task(self.open())

    def close(self) -> None:
        """Give the port back."""
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._socket.close()


class Placeholders:
    """Ports that nobody is given who wants any free one, while we do not listen there: whoever connects is refused."""

    def __init__(self, address: str, ports: Iterable[int]) -> None:
        self._sockets: list[socket.socket] = []
        for port in ports:
            with suppress(OSError):  # somebody was quicker; whoever wants to listen there will say so
                self._sockets.append(bind(address, port))

    def release(self) -> None:
        """Give the ports back."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()
