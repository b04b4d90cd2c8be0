"""Edge Hub's process: everything that starts with it and ends with it.

Rule: what outlives a restart (the chain, the cloud, the faults, the clock) is the gateway's and only used here; what is
made here ends with `stop`, in the reverse order.
"""

from __future__ import annotations

import asyncio
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
from gateway.hub.connectivity import Connectivity
from gateway.hub.edge import EdgeHub
from gateway.hub.edgehub_twin import MODULE_ID, EdgeHubTwin
from gateway.hub.forwarder import Forwarder
from gateway.hub.gatekeeper import Gatekeeper, IdentitySource
from gateway.hub.messages import Message
from gateway.hub.metered import MeteredCloud
from gateway.hub.metrics import Meter
from gateway.hub.routing.config import default_config
from gateway.hub.rules import Rules
from gateway.store.folder import StateFolder
from gateway.store.gate import letting_go_after
from gateway.upstream.uplink import Downlink

if TYPE_CHECKING:
    from gateway.upstream.parent.hub import ParentHub


class Uplink(Cloud, Protocol):
    """What Edge Hub says upwards, and hears from there."""

    @property
    def instant(self) -> bool:
        """Whether messages arrive as they are sent."""

    def send(self, messages: Sequence[Message], done: Callable[[Sequence[Message]], None]) -> None:
        """Carry telemetry; `done` gets those that have to be sent again."""

    def attach(self, downlink: Downlink | None) -> None:
        """Connect an Edge Hub, or take it away (None)."""

    def watch(
        self, told: Callable[[bool], None] | None, discarded: Callable[[Sequence[Message]], None] | None = None
    ) -> None:
        """Tell after each operation whether the cloud was reached, and what it will never take; None ends that."""


class Upstream(Protocol):
    """What is above: the stand-in for IoT Hub (IotHub), or another gateway (ParentHub)."""

    @property
    def uplink(self) -> Uplink:
        """The way there."""

    @property
    def identities(self) -> IdentitySource:
        """The registry."""

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
    metered: bool = False


class EdgeProcess:
    """One life of Edge Hub; its parts are there once it has started."""

    server: Server
    edge: EdgeHub
    connectivity: Connectivity
    meter: Meter
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
        self.meter = Meter(around.clock.running, now)
        self._exit.callback(around.events.subscribe(self.meter.see))
        self._start_connectivity()
        self._cloud = MeteredCloud(around.upstream.uplink, self.meter)
        self.edge = EdgeHub(self._cloud, around.clock, around.settings, log, meter=self.meter)
        self._start_forwarder(Forwarder(
            store,
            default_config(),
            to_cloud=around.upstream.uplink.send,
            instant=lambda: around.upstream.uplink.instant,
            to_input=self.edge.send_to_input,
            edge_device_id=around.edge_device_id,
            settings=around.settings,
            now=now,
            later=asyncio.get_running_loop().call_soon,
            log=log,
            meter=self.meter if around.metered else None,  # else messages go uncounted, which nobody could ask for
        ))  # fmt: skip
        intake = Intake(store, self.forwarder.targets, self.forwarder.stored, now, log, unstored=self.meter.unstored)
        self.edge.store_through(intake.store)
        self._start_gatekeeper(rules)
        self.connectivity.observe(self._online)
        await self._connect_upstream()
        self.server = Server(
            tls=tls,
            admission=Admission(self.gatekeeper.authenticator),
            sessions=sessions,
            intake=intake,
            edge=self.edge,
            ticks=(
                self.gatekeeper.tick,
                self.edge.tick,
                around.upstream.tick,
                self.connectivity.tick,
                self.meter.catch_up,
            ),
            report=Report(log, around.events, now),
            clock=around.clock,
            settings=around.settings,
            faults=around.faults,
        )
        self._exit.push_async_callback(self.server.stop)

    async def _connect_upstream(self) -> None:
        uplink, parent = self._around.upstream.uplink, self._around.parent
        if parent is not None:
            parent.serve(self.gatekeeper.scope)
            self.edge.observe(parent)
            self._exit.push_async_callback(parent.stop)
        uplink.attach(self.edge)
        self._exit.callback(uplink.attach, None)

    def _start_connectivity(self) -> None:
        """Learn from every operation whether IoT Hub is there."""
        around = self._around
        hub = f"{around.edge_device_id}/{MODULE_ID}"

        def probe() -> None:
            self._cloud.report(hub, {}, lambda _: None)

        frequency = around.settings.connectivity_check_frequency
        self.connectivity = Connectivity(probe, frequency, around.clock.running, around.log)
        around.upstream.uplink.watch(self.connectivity.told, self.meter.discarded)
        self._exit.callback(around.upstream.uplink.watch, None)

    def count_up(self) -> None:
        """Have the meter know all that has happened until now."""
        self.meter.catch_up()
        hub, connectivity = f"{self._around.edge_device_id}/{MODULE_ID}", self.connectivity
        known = self.meter.counters["offline_count"][hub,]
        if connectivity.offline_count > known:
            self.meter.count("offline_count", hub, by=connectivity.offline_count - known)
        durations, connectivity.offline_durations = connectivity.offline_durations, []
        for seconds in durations:
            self.meter.observe("offline_duration_seconds", seconds, hub)

    def _online(self) -> None:
        self.edge.online()
        self.gatekeeper.online()

    def _start_forwarder(self, forwarder: Forwarder) -> None:
        """Send what waits in the store, and whatever comes, where the twin of $edgeHub says."""
        around = self._around
        self.forwarder = forwarder
        self._exit.callback(forwarder.close)
        now, log = around.clock.now, around.log
        twin = EdgeHubTwin(self._cloud, around.edge_device_id, forwarder.configure, now, log)
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
