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
from gateway.web.guard import Application

_KEEP_ALIVE = 30  # seconds; service SDKs keep connections open between calls


class WebServer:
    """Serves `app` on `bind:port`, with TLS when there is a context."""

    def __init__(self, app: Application, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
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
