"""The HTTP servers beside Edge Hub: they stay while it restarts, as the cloud and its operator do.

Rule: a server that nobody asked for costs nothing, not even its imports; one whose port cannot be had is told in the
log and left out.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

from gateway.backend import BackEnd
from gateway.errors import PortError

if TYPE_CHECKING:
    from gateway.web import WebServer

Name = Literal["hub", "metrics", "admin"]


class Fronts:
    """Starts what was asked for by port (0 for any free one) on the address `bind`.

    `token` is needed to use them from another machine; on loopback there is none.
    """

    def __init__(self, bind: str, wanted: Mapping[Name, int | None], log: logging.Logger) -> None:
        self._bind = bind
        self._wanted = {name: port for name, port in wanted.items() if port is not None and name in _MAKERS}
        self._log = log
        self._exit = AsyncExitStack()
        self.ports: dict[Name, int] = {}
        self.token: str | None = None

    async def start(self, gateway: BackEnd) -> None:
        """Open the ports."""
        if not self._wanted:
            return
        from gateway.web.guard import is_loopback  # noqa: PLC0415 - see the rule above

        self.token = None if is_loopback(self._bind) else secrets.token_urlsafe(24)
        for name, wanted in self._wanted.items():
            server = self._make(name, gateway)
            try:
                self.ports[name] = await server.start(self._bind, wanted, f"--{name}-port")
            except PortError as wrong:
                self._log.warning("No %s server: %s; %s", name, wrong.message, wrong.hint)
            else:
                self._exit.push_async_callback(server.stop)

    async def stop(self) -> None:
        """Close them."""
        self.ports.clear()
        await self._exit.aclose()

    def _make(self, name: Name, gateway: BackEnd) -> WebServer:
        return _MAKERS[name](self, gateway)

    def _admin(self, gateway: BackEnd) -> WebServer:
        from gateway.admin.app import application  # noqa: PLC0415
        from gateway.web import Guard, WebServer  # noqa: PLC0415

        names = {gateway.hostname, self._bind}
        return WebServer(Guard(application(gateway), names=names, token=self.token, any_host=self.token is not None))

    def _hub(self, gateway: BackEnd) -> WebServer:
        from gateway.upstream.rest import Service, application  # noqa: PLC0415
        from gateway.upstream.rest.certificate import hub_certificate  # noqa: PLC0415
        from gateway.web import Guard, WebServer  # noqa: PLC0415
        from gateway.web.guard import is_loopback  # noqa: PLC0415

        service = Service(gateway.upstream, gateway.policies, gateway.clock.now, self._log)
        certificate = hub_certificate(gateway.chain, gateway.hub_hostname, self._bind)
        gateway.trust_hub(certificate.root)
        # No token: whoever asks has to show the hub's own kind.
        guarded = Guard(application(service), names=gateway.hub_names, any_host=not is_loopback(self._bind))
        return WebServer(guarded, certificate.context())

    def _metrics(self, gateway: BackEnd) -> WebServer:
        from gateway.metrics import application  # noqa: PLC0415
        from gateway.web import Guard, WebServer  # noqa: PLC0415

        names = {gateway.hostname, self._bind, "edgehub"}  # the name that other modules know it by
        return WebServer(Guard(application(gateway), names=names, any_host=self.token is not None))


_MAKERS: dict[Name, Callable[[Fronts, BackEnd], WebServer]] = {
    "hub": Fronts._hub,
    "metrics": Fronts._metrics,
    "admin": Fronts._admin,
}
