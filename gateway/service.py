"""The gateway: an emulated Edge Hub with its certificates, its store and its upstream, in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from certs import Authority, Chain
from gateway.broker.http import HttpCarrier
from gateway.broker.intake import Intake
from gateway.broker.methodcalls import MethodCalls
from gateway.broker.report import Report
from gateway.broker.routes import Routes
from gateway.broker.server import Head, Server
from gateway.broker.sessions import Sessions
from gateway.broker.tls import TlsContext
from gateway.clock import Clock, SystemClock
from gateway.config import Settings, TlsVersion
from gateway.errors import GatewayError, PortError
from gateway.events import Events
from gateway.hub.connect import Admission
from gateway.hub.methods import MethodCall, MethodResult
from gateway.store import Store
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore
from gateway.upstream import Device, Inbox, Registry
from gateway.upstream.link import Link

#: Edge Hub spoke TLS 1.2 alone until 1.5 (appsettings_hub.json of the releases in Azure/iotedge)
_TLS_1_2_ONLY = frozenset({"1.0.3", "1.0.4", "1.1", "1.2", "1.3"})


class Upstream:
    """What is above the gateway: the stand-in for IoT Hub, as far as it can be read."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox


class Gateway:
    """An IoT Edge transparent gateway; an async context manager.

        async with Gateway(hostname="gw.factory.test") as gateway:
            gateway.connection_string("press-7")

    Without `chain` it makes one for `hostname`. A port of 0 takes any free port; the ports are known once started.
    `https_port` is for MQTT over WebSocket and HTTPS; None leaves it out, and a port that cannot be had is told in the
    log and left out too. Modules of `edge_device_id` may call direct methods over HTTPS.
    With `state`, keys, registrations and messages survive in that folder; without, nothing is left behind. `tls` lists
    the versions to offer ("1.0" to "1.3"); by default those of the chain's generation. `amqtt_plugins` are plugins of
    amqtt (dotted class name -> configuration) that get the broker's events.
    """

    def __init__(
        self,
        *,
        chain: Chain | None = None,
        hostname: str = "localhost",
        bind: str = "127.0.0.1",
        mqtt_port: int = 0,
        https_port: int | None = 0,
        edge_device_id: str = "edge",
        hub_hostname: str = "hub.leafgate.test",
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
        self.clock = clock or SystemClock()
        self.settings = settings or Settings()
        self.events = Events()
        self.log = log or _logger()
        self.upstream = Upstream(Inbox(self.settings.inbox_limit, self.settings.inbox_byte_limit))
        self.edge_device_id = edge_device_id
        self._wanted_port = mqtt_port
        self._port: int | None = None
        self._wanted_https_port = https_port
        self._https_port: int | None = None
        self._state = None if state is None else state.absolute()
        self._keeps = state is not None
        self._store_kind = store or ("memory" if state is None else "sqlite")
        self._memory = MemoryStore()  # kept over a restart, so that its numbers go on
        self._tls = tuple(tls) if tls else _versions(self.chain.generation)
        self._plugins = amqtt_plugins
        self._registry: Registry | None = None
        self._server: Server | None = None
        self._exit = AsyncExitStack()

    async def start(self) -> None:
        """Open the listener. Raises PortError, CertificateError or StoreError; then nothing is left open."""
        if self._server is not None:
            raise GatewayError("the gateway is running already")
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise

    async def _start(self) -> None:
        tls = self._context(self.chain)
        self._prepare_state()
        store = self._open_store()
        self._exit.callback(store.close)
        link = Link(store, self.upstream.inbox, self.log)
        self._exit.callback(link.settle)
        link.catch_up()
        sessions = Sessions(self._plugins)
        await sessions.start()
        self._exit.push_async_callback(sessions.stop)
        report = Report(self.log, self.events, self.clock.now)
        server = Server(
            tls=tls,
            admission=Admission(self.registry.find, self._audiences(), self.settings.token_skew),
            sessions=sessions,
            intake=Intake(store, link.forward, self.clock.now, self.log),
            report=report,
            clock=self.clock,
            settings=self.settings,
        )
        self._exit.push_async_callback(server.stop)
        self.log.info("Enabling SSL protocols: %s", ", ".join(f"Tls{name.replace('.', '')}" for name in self._tls))
        self._port = await server.listen(self.bind, self._port or self._wanted_port, self.log)
        await self._listen_https(server, report)
        self._server = server

    def _invoke(self, call: MethodCall, done: Callable[[MethodResult], None]) -> None:
        """Call a direct method; in this version no client takes calls."""
        done(MethodResult(None, b"", 404, f"Client {call.client_id} not found"))

    async def _listen_https(self, server: Server, report: Report) -> None:
        wanted, self._https_port = self._https_port or self._wanted_https_port, None
        if wanted is None:
            return
        calls = MethodCalls(
            edge_device_id=self.edge_device_id,
            hub_hostname=self.hub_hostname,
            judge=server.judge,
            invoke=self._invoke,
            report=report,
        )
        routes = Routes(calls, report)
        head = Head(
            "Started HTTP head on port %d",
            "--https-port",
            lambda host: HttpCarrier(host, routes, report, self.clock, self.settings),
        )
        try:
            self._https_port = await server.listen(self.bind, wanted, self.log, head)
        except PortError as wrong:
            self.log.warning("No HTTPS and no MQTT over WebSocket: %s; %s", wrong.message, wrong.hint)

    async def stop(self) -> None:
        """Close every connection and put everything away; safe to call twice."""
        self._server = None
        await self._exit.aclose()

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
    def state(self) -> Path:
        """The folder with everything this gateway keeps; a temporary one unless it was given."""
        if self._state is None:
            folder = TemporaryDirectory(prefix="leafgate-")
            self._exit.callback(folder.cleanup)
            self._exit.callback(self._forget_state)
            self._state = Path(folder.name)
        return self._state

    @property
    def root_ca(self) -> Path:
        """The PEM file a leaf has to trust."""
        return self.state / "root.pem"

    @property
    def registry(self) -> Registry:
        """Devices and modules that may connect."""
        if self._registry is None:
            self._registry = Registry(self.state / "registry.jsonl" if self._keeps else None)
        return self._registry

    def add_device(self, device_id: str, *, primary_key: str = "", enabled: bool = True) -> Device:
        """Register a device; a key is made unless given (base64)."""
        return self.registry.add(Device(device_id, primary_key=primary_key, enabled=enabled))

    def connection_string(self, device_id: str, module_id: str | None = None) -> str:
        """The connection string of a device or module, which is registered if it is new."""
        for name in (None, module_id) if module_id is not None else (None,):
            if self.registry.get(device_id, name) is None:
                self.registry.add(Device(device_id, name))
        found = self.registry.get(device_id, module_id)
        assert found is not None
        module = f";ModuleId={module_id}" if module_id is not None else ""
        return (
            f"HostName={self.hub_hostname};DeviceId={device_id}{module};SharedAccessKey={found.primary_key}"
            f";GatewayHostName={self.hostname}"
        )

    def reload(self, chain: Chain) -> None:
        """Serve another chain to new connections; open ones stay. Raises CertificateError and changes nothing."""
        context = self._context(chain)
        self.chain = chain
        if self._server is not None:
            self._server.tls = context
            self._server.admission = Admission(self.registry.find, self._audiences(), self.settings.token_skew)
            self.root_ca.write_bytes(chain.trust_pem)

    def _context(self, chain: Chain) -> TlsContext:
        context = TlsContext(chain.sent, chain.key_pem, self._tls)
        expires = chain.sent[0].not_valid_after_utc.isoformat()
        self.log.info("Loaded server certificate with expiration date of %s", expires)
        return context

    def _audiences(self) -> frozenset[str]:
        return frozenset({self.hub_hostname.lower(), self.hostname.lower()})

    def _prepare_state(self) -> None:
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root_ca.write_bytes(self.chain.trust_pem)
        except OSError as wrong:
            hint = "choose another folder with --state"
            raise GatewayError(f"cannot write to {self.state}: {wrong.strerror}", hint) from None

    def _open_store(self) -> Store:
        if self._store_kind == "memory":
            return self._memory
        return SqliteStore(self.state / "messages.db", durability=self.settings.durability)

    def _forget_state(self) -> None:
        self._state = None


def _versions(generation: str) -> tuple[TlsVersion, ...]:
    return ("1.2",) if generation in _TLS_1_2_ONLY else ("1.2", "1.3")


def _logger() -> logging.Logger:
    # Not taken from the logging module's own table, which would keep one entry per gateway for ever.
    log = logging.Logger("leafgate.gateway")
    log.parent = logging.getLogger("leafgate")
    return log
