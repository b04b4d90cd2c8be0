"""The gateway: an emulated Edge Hub with its certificates, its store and its upstream, in one process."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from certs import Authority, Chain
from certs.renewal import renew_server
from gateway.backend import BackEnd
from gateway.broker.listener import Placeholders
from gateway.clock import Clock, SystemClock
from gateway.config import Settings, TlsVersion
from gateway.errors import GatewayError
from gateway.events import ClientConnected, ClientDisconnected, Event, Events
from gateway.faults import Faults
from gateway.fronts import Fronts
from gateway.hub.rules import Rules
from gateway.lifecycle import Change, Lifecycle
from gateway.logs import private_logger
from gateway.ports import in_url
from gateway.process import EdgeProcess, Surroundings
from gateway.serving import Serving, versions_of
from gateway.store.folder import StateFolder
from gateway.upstream import Inbox, Registry
from gateway.upstream.arrivals import CONNECTION_STATE, LIFECYCLE, TWIN_CHANGES
from gateway.upstream.database import keeper_in
from gateway.upstream.hub import IotHub
from gateway.upstream.link import Link
from gateway.upstream.parent.place import Parent, read_trust, trust
from gateway.upstream.sinks import Sink
from gateway.upstream.sinks.sqlite import SqliteLog


class Gateway(BackEnd):
    """An IoT Edge transparent gateway; an async context manager.

        async with Gateway(hostname="gw.factory.test") as gateway:
            gateway.connection_string("press-7")

    Without `chain` it makes one for `hostname`. A port of 0 takes any free port; the ports are known once started.
    `https_port` is for MQTT over WebSocket and HTTPS; None leaves it out, and a port that cannot be had is told in the
    log and left out too; so are the cloud's service API (`hub_port`), Edge Hub's metrics (`metrics_port`) and the
    emulator's own HTTP interface (`admin_port`), which nobody gets unasked.
    With `state`, keys, registrations and messages survive in that folder; without, nothing is left behind. `tls` lists
    the versions to offer ("1.0" to "1.3"); by default those of the chain's generation. `edge_device_id` is the id of
    the gateway's own edge device, the parent of what is registered here, whose modules may call direct methods over
    HTTPS; `trust_bundle` has the certificates by which devices of a certificate authority are judged, by default the
    chain's root. With `parent_hostname` the gateway is nested: its cloud is the gateway of that name, reached with
    `parent_connection`, the connection string of this gateway's own edge device, which also says its id and the hub;
    devices are registered at the top. `parent_trust` is the PEM file that the parent is judged by, by default this
    chain's own root; `parent_address` (address, MQTT port, HTTPS port) is where TCP goes instead of the name and ports
    8883 and 443. `sinks` get everything that arrives upstream. `amqtt_plugins` are plugins of amqtt (dotted class name
    -> configuration) that get the broker's events.
    """

    def __init__(
        self,
        *,
        chain: Chain | None = None,
        hostname: str = "localhost",
        bind: str = "127.0.0.1",
        mqtt_port: int = 0,
        https_port: int | None = 0,
        hub_port: int | None = None,
        metrics_port: int | None = None,
        admin_port: int | None = None,
        hub_hostname: str = "hub.leafgate.test",
        edge_device_id: str = "leafgate-edge",
        trust_bundle: Sequence[x509.Certificate] | None = None,
        parent_hostname: str | None = None,
        parent_connection: str | None = None,
        parent_trust: Path | None = None,
        parent_address: tuple[str, int, int] | None = None,
        state: Path | None = None,
        store: str | None = None,
        tls: Sequence[TlsVersion] | None = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
        sinks: Sequence[Sink] = (),
        amqtt_plugins: Mapping[str, Any] | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.chain = chain or Authority(hostname=hostname).chain()
        self.bind = bind
        above = _parent(parent_hostname, parent_connection, parent_address)
        self.hub_hostname = hub_hostname if above is None else above.hub_hostname
        self.edge_device_id = edge_device_id if above is None else above.device_id
        self.trust_bundle = None if trust_bundle is None else tuple(trust_bundle)
        self.clock = clock or SystemClock()
        self.settings = settings or Settings()
        self.events = Events()
        self.log = log or private_logger()
        self.faults = Faults(self.log)
        limits = self.settings.inbox_limit, self.settings.inbox_byte_limit
        inbox = Inbox(*limits, now=self.clock.now, log=self.log)
        self._sinks = tuple(sinks)
        link = Link(inbox, self.clock.running, self.log, track_device_state=self.settings.track_device_state)
        self._folder = StateFolder(state, store, self.settings, self.log)
        keeper = keeper_in(self._folder.hub, self._folder.registry, self.settings.durability, self.log)
        self.upstream = IotHub(
            lambda: self.registry,
            inbox,
            self.clock,
            link,
            _notified(self.settings),
            keeper=keeper,
            log=self.log,
            patience=self.settings.cloud_operation_timeout,
        )
        if above is None:
            self.events.subscribe(self._connections_changed)
        else:
            from gateway.upstream.parent.hub import ParentHub  # noqa: PLC0415 - paho is for nested gateways alone

            self.parent = ParentHub(above, self._trust_in_parent(parent_trust), self.clock, self.settings, self.log)
        self._wanted_ports = (mqtt_port, https_port)
        self._started_ports: tuple[int, int | None] | None = None
        self._tls = tuple(tls) if tls else versions_of(self.chain.generation)
        self._serving = Serving(self._tls, self.clock, self.log)
        self._registry: Registry | None = None
        self._process: EdgeProcess | None = None
        self._surroundings = Surroundings(
            edge_device_id=self.edge_device_id,
            hub_hostname=self.hub_hostname,
            bind=bind,
            upstream=self.parent or self.upstream,
            parent=self.parent,
            keep=inbox.keep if self.parent is None else None,
            folder=self._folder,
            clock=self.clock,
            settings=self.settings,
            events=self.events,
            faults=self.faults,
            log=self.log,
            amqtt_plugins=amqtt_plugins,
            metered=metrics_port is not None,
        )
        self._places = Placeholders(bind, ())
        self._fronts = Fronts(bind, {"hub": hub_port, "metrics": metrics_port, "admin": admin_port}, self.log)
        self.life = Lifecycle(self, self.clock, self.settings, self.events, self.log)
        self._stop_watching: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Open the listener. Raises PortError, CertificateError or StoreError; then nothing is left open."""
        if self._process is not None or self.life.down:
            raise GatewayError("the gateway is running already", "restart() starts an Edge Hub that is down")
        try:
            self._open_inbox()
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
        await self._start()

    async def exit(self) -> None:
        """End Edge Hub's process; for the gateway's own use."""
        ports = await self._end_process()
        self._places = Placeholders(self.bind, ports)

    async def _end_process(self) -> tuple[int, ...]:
        """End Edge Hub if it runs; the answer is where it listened."""
        process, self._process = self._process, None
        if process is None:
            return ()
        ports = tuple(process.server.ports)
        await process.stop()
        return ports

    async def _start(self) -> None:
        tls = self._serving.load(self.chain)
        self.log.info("Enabling SSL protocols: %s", ", ".join(f"Tls{name.replace('.', '')}" for name in self._tls))
        self._folder.prepare(self.served.trust_pem)
        self._open_cloud()
        process = EdgeProcess(self._surroundings)
        mqtt, https = self._started_ports or (0, None)
        await process.start(tls, self._rules(), mqtt or self._wanted_ports[0], https or self._wanted_ports[1])
        self._process = process
        self._started_ports = process.port, process.https_port

    def _open_inbox(self) -> None:
        """Let what arrives go to the log beside the other state, and to every sink. Raises StoreError."""
        self._folder.prepare(self.served.trust_pem)
        path, limits = self._folder.arrived, self.settings
        sinks = list(self._sinks)
        if path is not None and limits.feed_limit:
            kept = {"limit": limits.feed_limit, "byte_limit": limits.feed_byte_limit}
            sinks.insert(0, SqliteLog(path, **kept, durability=limits.durability, log=self.log))
        self.upstream.inbox.open(sinks)

    async def stop(self) -> None:
        """Close every connection and put everything away; safe to call twice."""
        self._stop_watching()
        self._stop_watching = lambda: None
        await self.life.end()
        self._places.release()
        await self._put_away()

    async def _put_away(self) -> None:
        await self._fronts.stop()
        await self._end_process()
        self.upstream.inbox.close()
        self.upstream.close()
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
        if self._started_ports is None:
            raise GatewayError("the gateway has not been started, so it has no port yet")
        return self._started_ports[0]

    @property
    def https_port(self) -> int | None:
        """The port for MQTT over WebSocket and HTTPS; None when there is none."""
        return None if self._started_ports is None else self._started_ports[1]

    @property
    def admin_port(self) -> int | None:
        """The port of the emulator's own HTTP interface; None when there is none."""
        return self._fronts.ports.get("admin")

    @property
    def hub_port(self) -> int | None:
        """The port of the cloud's service API; None when there is none."""
        return self._fronts.ports.get("hub")

    @property
    def metrics_port(self) -> int | None:
        """The port of Edge Hub's metrics; None when there are none."""
        return self._fronts.ports.get("metrics")

    @property
    def admin_url(self) -> str | None:
        """Where that is found; None when there is none."""
        return None if self.admin_port is None else f"http://{in_url(self.bind)}:{self.admin_port}"

    @property
    def feed_url(self) -> str | None:
        """Where what arrived upstream is read there; None when there is none."""
        return None if self.admin_url is None else f"{self.admin_url}/api/v1/feed"

    @property
    def c2d_url(self) -> str | None:
        """Where cloud-to-device messages are taken there; None when there is none."""
        return None if self.admin_url is None else f"{self.admin_url}/api/v1/c2d"

    @property
    def admin_token(self) -> str | None:
        """What programs of other machines have to show there; None on loopback."""
        return self._fronts.token

    @property
    def running(self) -> bool:
        """Whether Edge Hub takes connections; it does not while it restarts, or has exited for good."""
        return self._process is not None

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
        if self._process is not None:
            self._process.server.tls = context
            self._process.gatekeeper.authenticator.rules = self._rules()
            self.root_ca.write_bytes(self.served.trust_pem)
            self.life.chain_changed()

    @property
    def served(self) -> Chain:
        """The chain as clients meet it: what has aged by the gateway's clock is dated back to the machine's."""
        return self._serving.aged(self.chain)

    def _connections_changed(self, event: Event) -> None:
        if isinstance(event, ClientConnected | ClientDisconnected):
            connected = isinstance(event, ClientConnected)
            self.upstream.activity.connection_changed(event.client_id, connected)
            self.upstream.notifications.connection_changed(event.client_id, connected)

    def _time_moved(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs wherever the clock is moved, so that whoever moves it hears what cannot age. Raises CertsError."""
        if not self._serving.up_to_date and self.served:
            loop.call_soon_threadsafe(self._serve_aged)

    def _serve_aged(self) -> None:
        if self._process is not None:
            self._process.server.tls = self._serving.context(self.chain)
            self.root_ca.write_bytes(self.served.trust_pem)

    def _trust_in_parent(self, path: Path | None) -> Callable[[], ssl.SSLContext]:
        """What the parent is judged by: the file as it is now, or this chain's root as it is for each connection."""
        if path is None:
            return lambda: trust(self.served.trust_pem)
        context = read_trust(path)
        return lambda: context

    def _rules(self) -> Rules:
        bundle = self.chain.trust if self.trust_bundle is None else self.trust_bundle
        return Rules({self.hub_hostname.lower(), self.hostname.lower()}, self.settings.token_skew, bundle)


def _parent(hostname: str | None, connection: str | None, address: tuple[str, int, int] | None) -> Parent | None:
    if hostname is None and connection is None:
        return None
    if hostname is None or connection is None:
        missing = "parent_hostname" if hostname is None else "parent_connection"
        raise GatewayError(f"a nested gateway needs {missing} too", "give both, or neither")
    return Parent.read(hostname, connection, address)


def _notified(settings: Settings) -> list[str]:
    """The sources of messages that IoT Hub makes itself."""
    switches = {
        TWIN_CHANGES: settings.twin_change_events,
        LIFECYCLE: settings.device_lifecycle_events,
        CONNECTION_STATE: settings.device_connection_state_events,
    }
    return [source for source, on in switches.items() if on]
