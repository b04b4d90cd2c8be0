"""The gateway: an emulated Edge Hub with its certificates, its store and its upstream, in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from certs import Authority, Chain
from certs.renewal import renew_server
from gateway.backend import BackEnd
from gateway.broker.http import HttpCarrier
from gateway.broker.intake import Intake
from gateway.broker.listener import Placeholders
from gateway.broker.methodcalls import MethodCalls
from gateway.broker.report import Report
from gateway.broker.routes import Routes
from gateway.broker.server import Head, Server
from gateway.broker.sessions import Sessions
from gateway.clock import Clock, SystemClock
from gateway.config import Settings, TlsVersion
from gateway.errors import GatewayError, PortError
from gateway.events import Events
from gateway.faults import Faults
from gateway.faults.hooks import Hooks
from gateway.fronts import Fronts
from gateway.hub.connect import Admission
from gateway.hub.edge import EdgeHub
from gateway.hub.edgehub_twin import EdgeHubTwin
from gateway.hub.forwarder import Forwarder
from gateway.hub.gatekeeper import Gatekeeper
from gateway.hub.routing.config import default_config
from gateway.hub.rules import Rules
from gateway.lifecycle import Change, Lifecycle
from gateway.logs import private_logger
from gateway.serving import Serving, versions_of
from gateway.store import Store
from gateway.store.folder import StateFolder
from gateway.upstream import Inbox, Registry
from gateway.upstream.hub import IotHub
from gateway.upstream.link import Link


class Gateway(BackEnd):
    """An IoT Edge transparent gateway; an async context manager.

        async with Gateway(hostname="gw.factory.test") as gateway:
            gateway.connection_string("press-7")

    Without `chain` it makes one for `hostname`. A port of 0 takes any free port; the ports are known once started.
    `https_port` is for MQTT over WebSocket and HTTPS; None leaves it out, and a port that cannot be had is told in the
    log and left out too. `admin_port` is for the emulator's own HTTP interface (docs/admin.md).
    With `state`, keys, registrations and messages survive in that folder; without, nothing is left behind. `tls` lists
    the versions to offer ("1.0" to "1.3"); by default those of the chain's generation. `edge_device_id` is the id of
    the gateway's own edge device, the parent of what is registered here, whose modules may call direct methods over
    HTTPS; `trust_bundle` has the certificates by which devices of a certificate authority are judged, by default the
    chain's root. `amqtt_plugins` are plugins of amqtt (dotted class name -> configuration) that get the broker's
    events.
    """

    def __init__(
        self,
        *,
        chain: Chain | None = None,
        hostname: str = "localhost",
        bind: str = "127.0.0.1",
        mqtt_port: int = 0,
        https_port: int | None = 0,
        admin_port: int | None = None,
        hub_hostname: str = "hub.leafgate.test",
        edge_device_id: str = "leafgate-edge",
        trust_bundle: Sequence[x509.Certificate] | None = None,
        state: Path | None = None,
        store: str | None = None,
        tls: Sequence[TlsVersion] | None = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
        amqtt_plugins: Mapping[str, Any] | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.chain = chain or Authority(hostname=hostname).chain()
        self.bind = bind
        self.hub_hostname = hub_hostname
        self.edge_device_id = edge_device_id
        self.trust_bundle = None if trust_bundle is None else tuple(trust_bundle)
        self.clock = clock or SystemClock()
        self.settings = settings or Settings()
        self.events = Events()
        self.log = log or private_logger()
        self.faults = Faults(self.log)
        inbox = Inbox(self.settings.inbox_limit, self.settings.inbox_byte_limit)
        link = Link(inbox, self.clock.now, self.log, track_device_state=self.settings.track_device_state)
        self.upstream = IotHub(lambda: self.registry, inbox, self.clock, link)
        self._wanted_port = mqtt_port
        self._port: int | None = None
        self._wanted_https_port = https_port
        self._https_port: int | None = None
        self._folder = StateFolder(state, store, self.settings, self.log)
        self._tls = tuple(tls) if tls else versions_of(self.chain.generation)
        self._serving = Serving(self._tls, self.clock, self.log)
        self._plugins = amqtt_plugins
        self._registry: Registry | None = None
        self._server: Server | None = None
        self._edge: EdgeHub | None = None
        self._gatekeeper: Gatekeeper | None = None
        self._exit = AsyncExitStack()
        self._places = Placeholders(bind, ())
        self._fronts = Fronts(bind, {"admin": admin_port}, self.log)
        self.life = Lifecycle(self, self.clock, self.settings, self.events, self.log)
        self._stop_watching: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Open the listener. Raises PortError, CertificateError or StoreError; then nothing is left open."""
        if self._server is not None or self.life.down:
            raise GatewayError("the gateway is running already", "restart() starts an Edge Hub that is down")
        try:
            await self._start()
            await self._fronts.start(self)
        except BaseException:
            await self._put_away()
            raise
        self.life.begin()
        loop = asyncio.get_running_loop()
        self._stop_watching = self.clock.subscribe(lambda: self._time_moved(loop))

    async def restart(self, change: Change = renew_server) -> None:
        """Let Edge Hub exit and start again on its ports, or start if it is down; sessions stay.

        Meanwhile `change` makes other certificates of those there are; each start has a new server certificate at
        least. Raises PortError, StoreError, CertificateError or CertsError; then it is down.
        """
        await self.life.restart(change)

    async def settled(self) -> None:
        """Wait until everything that is due by the clock, a restart say, has been done."""
        await self.life.settled()

    async def boot(self) -> None:
        """Start Edge Hub's process; for the gateway's own use."""
        self._places.release()
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise

    async def exit(self) -> None:
        """End Edge Hub's process; for the gateway's own use."""
        ports = () if self._server is None else tuple(self._server.ports)
        self._server = self._edge = self._gatekeeper = None
        await self._exit.aclose()
        self._places = Placeholders(self.bind, ports)

    async def _start(self) -> None:
        tls = self._serving.load(self.chain)
        self.log.info("Enabling SSL protocols: %s", ", ".join(f"Tls{name.replace('.', '')}" for name in self._tls))
        self._folder.prepare(self.served.trust_pem)
        store = self._folder.open_store()
        self._exit.callback(store.close)
        sessions = Sessions(store, self._plugins)
        await sessions.start()
        self._exit.push_async_callback(sessions.stop)
        edge = EdgeHub(self.upstream, self.clock, self.settings, self.log)
        self.upstream.attach(edge)
        self._exit.callback(self.upstream.attach, None)
        forwarder = self._forwarder(store, edge)
        scope_store = self._folder.open_scope()
        self._exit.callback(scope_store.close)
        gatekeeper = Gatekeeper(
            self.upstream.identities,
            scope_store,
            self._rules(),
            clients=edge.clients,
            owner=self.edge_device_id,
            settings=self.settings,
            now=self.clock.now,
            log=self.log,
        )
        self.upstream.identities.attach(gatekeeper.online)
        self._exit.callback(self.upstream.identities.attach, None)
        report = Report(self.log, self.events, self.clock.now)
        intake = Intake(store, forwarder.targets, forwarder.stored, self.clock.now, self.log)
        edge.store_through(intake.store)
        server = Server(
            tls=tls,
            admission=Admission(gatekeeper.authenticator),
            sessions=sessions,
            intake=intake,
            edge=edge,
            ticks=(gatekeeper.tick, edge.tick, self.upstream.tick),
            report=report,
            clock=self.clock,
            settings=self.settings,
            faults=self.faults,
        )
        self._exit.push_async_callback(server.stop)
        self._port = await server.listen(self.bind, self._port or self._wanted_port, self.log)
        await self._listen_https(server)
        self._attach_faults(server)
        self._server, self._edge, self._gatekeeper = server, edge, gatekeeper

    def _forwarder(self, store: Store, edge: EdgeHub) -> Forwarder:
        """Send what waits in the store, and whatever comes, where the twin of $edgeHub says."""
        forwarder = Forwarder(
            store,
            default_config(),
            to_cloud=self.upstream.link.send,
            to_input=edge.send_to_input,
            edge_device_id=self.edge_device_id,
            settings=self.settings,
            now=self.clock.now,
            later=asyncio.get_running_loop().call_soon,
            log=self.log,
        )
        self._exit.callback(forwarder.close)
        twin = EdgeHubTwin(self.upstream, self.edge_device_id, forwarder.configure, self.clock.now, self.log)
        edge.route_through(forwarder, twin)
        twin.read()
        forwarder.start()
        return forwarder

    async def _listen_https(self, server: Server) -> None:
        wanted, self._https_port = self._https_port or self._wanted_https_port, None
        if wanted is None:
            return
        calls = MethodCalls(
            edge_device_id=self.edge_device_id,
            hub_hostname=self.hub_hostname,
            judge=server.admission.judge,
            invoke=server.edge.invoke,
            report=server.report,
        )
        routes = Routes(calls, server.report)
        head = Head(
            "Started HTTP head on port %d",
            "--https-port",
            lambda host: HttpCarrier(host, routes, self.clock, self.settings),
        )
        try:
            self._https_port = await server.listen(self.bind, wanted, self.log, head)
        except PortError as wrong:
            self.log.warning("No HTTPS and no MQTT over WebSocket: %s; %s", wrong.message, wrong.hint)

    def _attach_faults(self, server: Server) -> None:
        self.faults.attach(server)
        self._exit.callback(self.faults.detach)
        if self.settings.fault_injection:
            hooks = Hooks(self.faults, server, self.log)
            server.orders = hooks.obey
            self._exit.callback(hooks.stop)

    async def stop(self) -> None:
        """Close every connection and put everything away; safe to call twice."""
        self._stop_watching()
        self._stop_watching = lambda: None
        await self.life.end()
        self._places.release()
        self._server = self._edge = self._gatekeeper = None
        await self._put_away()

    async def _put_away(self) -> None:
        await self._fronts.stop()
        await self._exit.aclose()
        self._folder.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.stop()

    @property
    def hostname(self) -> str:
        """The name that leaves use for the gateway (GatewayHostName)."""
        return self.chain.hostname

    @property
    def mqtt_port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise GatewayError("the gateway has not been started, so it has no port yet")
        return self._port

    @property
    def https_port(self) -> int | None:
        """The port for MQTT over WebSocket and HTTPS; None when there is none."""
        return self._https_port

    @property
    def admin_port(self) -> int | None:
        """The port of the emulator's own HTTP interface; None when there is none."""
        return self._fronts.ports.get("admin")

    @property
    def admin_token(self) -> str | None:
        """What programs of other machines have to show there; None on loopback."""
        return self._fronts.token

    @property
    def running(self) -> bool:
        """Whether Edge Hub takes connections; it does not while it restarts, or has exited for good."""
        return self._server is not None

    @property
    def state(self) -> Path:
        """The folder with everything this gateway keeps; a temporary one unless it was given."""
        return self._folder.path

    @property
    def root_ca(self) -> Path:
        """The PEM file a leaf has to trust."""
        return self._folder.root_ca

    def reload(self, chain: Chain) -> None:
        """Serve another chain to new connections; open ones stay. Raises CertificateError and changes nothing."""
        context = self._serving.load(chain)
        self.chain = chain
        if self._server is not None and self._gatekeeper is not None:
            self._server.tls = context
            self._gatekeeper.authenticator.rules = self._rules()
            self.root_ca.write_bytes(self.served.trust_pem)
            self.life.chain_changed()

    @property
    def served(self) -> Chain:
        """The chain as clients meet it: what has aged by the gateway's clock is dated back to the machine's."""
        return self._serving.aged(self.chain)

    def _time_moved(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs wherever the clock is moved, so that whoever moves it hears what cannot age. Raises CertsError."""
        if not self._serving.up_to_date and self.served:
            loop.call_soon_threadsafe(self._serve_aged)

    def _serve_aged(self) -> None:
        if self._server is not None:
            self._server.tls = self._serving.context(self.chain)
            self.root_ca.write_bytes(self.served.trust_pem)

    def _rules(self) -> Rules:
        bundle = self.chain.trust if self.trust_bundle is None else self.trust_bundle
        return Rules({self.hub_hostname.lower(), self.hostname.lower()}, self.settings.token_skew, bundle)
