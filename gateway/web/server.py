"""An ASGI application on a port, in the event loop that is there already.

uvicorn's own `serve` takes over signals, polls ten times a second and waits a tenth of a second when it stops; its
start-up and its connections are used without that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import uvicorn

from gateway.ports import claim
from gateway.web.guard import Application, Receive, Scope, Send

_KEEP_ALIVE = 30  # seconds; service SDKs keep connections open between calls


class WebServer:
    """Serves `app` on `bind:port`, with TLS when there is a context."""

    def __init__(self, app: Application, tls: ssl.SSLContext | None = None) -> None:
        self._app = app
        self._stopping = False
        config = uvicorn.Config(
            self._call,
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._bound: socket.socket | None = None

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            # uvicorn logs a call that is cut off as a failure of the application, until it knows that nobody is there.
            while (await receive())["type"] != "http.disconnect":
                pass

    async def start(self, bind: str, port: int, option: str) -> int:
        """Open the port, 0 for any free one; returns which. PortError names `option`."""
        bound = claim(bind, port, option)
        await self._server.startup(sockets=[bound])
        self._bound = bound
        number: int = bound.getsockname()[1]
        return number

    async def stop(self) -> None:
        """Close the port and every connection; calls that are under way are cut off."""
        if self._bound is None:
            return
        self._stopping = True
        for listener in self._server.servers:
            listener.close()
        self._bound.close()
        state: Any = self._server.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
