"""Edge Hub's process: everything that starts with it and ends with it.

Rule: what outlives a restart (the chain, the cloud, the faults, the clock) is the gateway's and only used here; what is
made here ends with `stop`, in the reverse order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gateway.broker.http import HttpCarrier
from gateway.broker.intake import Intake
from gateway.broker.methodcalls import MethodCalls
from gateway.broker.report import Report
from gateway.broker.routes import Routes
from gateway.broker.scopecalls import ScopeCalls
from gateway.broker.server import Head, Server
from gateway.broker.sessions import Sessions
from gateway.broker.tls import TlsContext
from gateway.clock import Clock
from gateway.config import Settings
from gateway.errors import PortError
from gateway.events import Events
from gateway.faults import Faults
from gateway.faults.hooks import Hooks
from gateway.hub.cloud import Cloud
from gateway.hub.connect import Admission
from gateway.hub.edge import EdgeHub
from gateway.hub.edgehub_twin import EdgeHubTwin
from gateway.hub.forwarder import Forwarder
from gateway.hub.gatekeeper import Gatekeeper, IdentitySource
from gateway.hub.messages import Message
from gateway.hub.routing.config import default_config
from gateway.hub.rules import Rules
from gateway.store.folder import StateFolder
from gateway.store.gate import letting_go_after
from gateway.upstream.hub import Downlink

if TYPE_CHECKING:
    from gateway.upstream.parent.hub import ParentHub


class AttachedSource(IdentitySource, Protocol):
    """A registry that also tells when it can be reached again."""

    def attach(self, tell: Callable[[], None] | None) -> None:
        """Call `tell` then; None ends that."""


class Upstream(Cloud, Protocol):
    """What is above: the stand-in for IoT Hub (IotHub), or another gateway (ParentHub)."""

    def send(self, messages: Sequence[Message], done: Callable[[Sequence[Message]], None]) -> None:
        """Carry a batch of telemetry; `done` gets those that have to be sent again."""

    @property
    def identities(self) -> AttachedSource:
        """The registry."""

    def attach(self, downlink: Downlink | None) -> None:
        """Connect an Edge Hub, or take it away (None)."""

    def tick(self) -> None:
        """Let time take effect."""


@dataclass(frozen=True)
class Surroundings:
    """What a process finds when it starts: who it is, where it listens, and what it works with."""

    edge_device_id: str
    hub_hostname: str
    bind: str
    upstream: Upstream
    folder: StateFolder
    clock: Clock
    settings: Settings
    events: Events
    faults: Faults
    log: logging.Logger
    amqtt_plugins: Mapping[str, Any] | None = None
    parent: ParentHub | None = None  # `upstream` if that is another gateway
    keep: Callable[[], None] | None = None  # what has arrived is kept above before it is let go of here


class EdgeProcess:
    """One life of Edge Hub; its parts are there once it has started."""

    server: Server
    edge: EdgeHub
    forwarder: Forwarder
    gatekeeper: Gatekeeper
    port: int
    https_port: int | None = None

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._exit = AsyncExitStack()

    async def start(self, tls: TlsContext, rules: Rules, port: int, https_port: int | None) -> None:
        """Open the listeners, 0 for any free port. Raises PortError, CertificateError or StoreError."""
        try:
            await self._start(tls, rules)
            self.port = await self.server.listen(self._around.bind, port, self._around.log)
            await self._listen_https(https_port)
            self._attach_faults()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection and let go of the store."""
        await self._exit.aclose()

    async def _start(self, tls: TlsContext, rules: Rules) -> None:
        around, log, now = self._around, self._around.log, self._around.clock.now
        store = around.folder.open_store()
        if around.keep is not None:
            store = letting_go_after(around.keep, store)
        self._exit.callback(store.close)
        sessions = Sessions(store, around.amqtt_plugins)
        await sessions.start()
        self._exit.push_async_callback(sessions.stop)
        self.edge = EdgeHub(around.upstream, around.clock, around.settings, log)
        self._start_forwarder(Forwarder(
            store,
            default_config(),
            to_cloud=around.upstream.send,
            to_input=self.edge.send_to_input,
            edge_device_id=around.edge_device_id,
            now=now,
            log=log,
        ))  # fmt: skip
        self._start_gatekeeper(rules)
        await self._connect_upstream()
        self.server = Server(
            tls=tls,
            admission=Admission(self.gatekeeper.authenticator),
            sessions=sessions,
            intake=Intake(store, self.forwarder.targets, self.forwarder.stored, now, log),
            edge=self.edge,
            ticks=(self.gatekeeper.tick, self.edge.tick, around.upstream.tick),
            report=Report(log, around.events, now),
            clock=around.clock,
            settings=around.settings,
            faults=around.faults,
        )
        self._exit.push_async_callback(self.server.stop)

    async def _connect_upstream(self) -> None:
        upstream, parent = self._around.upstream, self._around.parent
        if parent is not None:
            parent.serve(self.gatekeeper.scope)
            self.edge.observe(parent)
            self._exit.push_async_callback(parent.stop)
        upstream.attach(self.edge)
        self._exit.callback(upstream.attach, None)

    def _start_forwarder(self, forwarder: Forwarder) -> None:
        """Send what waits in the store, and whatever comes, where the twin of $edgeHub says."""
        around = self._around
        self.forwarder = forwarder
        self._exit.callback(forwarder.settle)
        now, log = around.clock.now, around.log
        twin = EdgeHubTwin(around.upstream, around.edge_device_id, forwarder.configure, now, log)
        self.edge.route_through(forwarder, twin)
        twin.read()
        forwarder.start()

    def _start_gatekeeper(self, rules: Rules) -> None:
        around = self._around
        scope_store = around.folder.open_scope()
        self._exit.callback(scope_store.close)
        self.gatekeeper = Gatekeeper(
            around.upstream.identities,
            scope_store,
            rules,
            clients=self.edge.clients,
            owner=around.edge_device_id,
            settings=around.settings,
            now=around.clock.now,
            log=around.log,
        )
        around.upstream.identities.attach(self.gatekeeper.online)
        self._exit.callback(around.upstream.identities.attach, None)

    async def _listen_https(self, wanted: int | None) -> None:
        if wanted is None:
            return
        around, server = self._around, self.server
        calls = MethodCalls(
            edge_device_id=around.edge_device_id,
            hub_hostname=around.hub_hostname,
            judge=server.admission.judge,
            invoke=server.edge.invoke,
            report=server.report,
        )
        scope = ScopeCalls(
            hub_hostname=around.hub_hostname,
            authenticator=self.gatekeeper.authenticator,
            report=server.report,
        )
        routes = Routes(calls, server.report, scope)
        head = Head(
            "Started HTTP head on port %d",
            "--https-port",
            lambda host: HttpCarrier(host, routes, around.clock, around.settings),
        )
        try:
            self.https_port = await server.listen(around.bind, wanted, around.log, head)
        except PortError as wrong:
            around.log.warning("No HTTPS and no MQTT over WebSocket: %s; %s", wrong.message, wrong.hint)

    def _attach_faults(self) -> None:
        around = self._around
        around.faults.attach(self.server)
        self._exit.callback(around.faults.detach)
        if around.settings.fault_injection:
            hooks = Hooks(around.faults, self.server, around.log)
            self.server.orders = hooks.obey
            self._exit.callback(hooks.stop)
