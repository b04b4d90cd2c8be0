"""The room that joins a gateway and its leaves, for code that is not asynchronous: tests, and whoever just wants one.

Rule: the gateway lives on a thread of its own with its own event loop; everything here may be called from any other
thread and returns when it is done.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from certs import Chain
from gateway import Clock, Delivered, Gateway, GatewayError, ManualClock, MethodResult, MovableClock, Settings
from gateway.config import TlsVersion
from gateway.events import Event
from gateway.faults import Switched
from gateway.upstream.sinks import Sink
from leafsim import Device
from scenarios import ready
from scenarios.chainplan import ChainPlan, new_seed

Value = TypeVar("Value")
READY = "ready.json"


class LoopThread:
    """A thread that runs an event loop until it is closed."""

    def __init__(self, name: str = "leafgate") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine on the loop and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a coroutine that goes on until the loop is closed."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what still runs and end the thread."""
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()


@dataclass(frozen=True)
class LeafHandle:
    """A leaf that is registered at the gateway: what a program needs to be it."""

    device_id: str
    module_id: str | None
    connection_string: str
    gateway: GatewayHandle

    def environment(self) -> dict[str, str]:
        """Variables for a device program: connection string, root certificate and the ready file."""
        return {
            "IOTHUB_DEVICE_CONNECTION_STRING": self.connection_string,
            "IOTEDGE_ROOT_CA_CERT_PATH": str(self.gateway.root_ca),
            "LEAFGATE_READY": str(self.gateway.ready_file),
        }

    @property
    def client_id(self) -> str:
        """`device`, or `device/module`."""
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    def update_desired(self, patch: Mapping[str, Any] | None) -> int:
        """Change its desired properties from the cloud (null deletes); returns their new version."""
        return self.gateway.call(lambda inner: inner.upstream.twins.update_desired(self.client_id, patch))

    def reported(self) -> dict[str, Any]:
        """Its reported properties as the cloud has them, every change that was answered included."""

        def read(inner: Gateway) -> dict[str, Any]:
            inner.push_reported()
            return copy.deepcopy(dict(inner.upstream.twins.get(self.client_id).reported))

        return self.gateway.call(read)

    def invoke(self, method: str, payload: Any = None, **timeouts: float) -> MethodResult:
        """Call a direct method from the cloud; `response_timeout` and `connect_timeout` in seconds."""
        return self.gateway.wait_for(
            lambda inner: inner.invoke_method(self.device_id, method, payload, module_id=self.module_id, **timeouts)
        )

    def send(self, body: bytes | str, properties: Mapping[str, str] | None = None, **options: Any) -> None:
        """Send it a cloud-to-device message; `options` are those of gateway.upstream.commands.send."""
        data = body.encode() if isinstance(body, str) else body
        self.gateway.call(lambda inner: inner.upstream.commands.send(self.device_id, data, properties, **options))

    def send_to_input(self, name: str, body: bytes | str, properties: Mapping[str, str] | None = None) -> None:
        """Send to an input of this module and wait until it has acknowledged; GatewayError if it does not."""
        assert self.module_id is not None, f"{self.device_id} is a device; only modules have inputs"
        module, data = self.module_id, body.encode() if isinstance(body, str) else body
        self.gateway.wait_for(
            lambda inner: inner.send_to_input(self.device_id, module, name, data, properties=properties)
        )

    def device(self, **options: Any) -> Device:
        """A simulated device with this identity; `options` are those of leafsim.Device."""
        port = self.gateway.mqtt_port
        here = {(self.gateway.hostname, port): (self.gateway.bind, port)}
        defaults: dict[str, Any] = {"trust": self.gateway.root_ca, "port": port, "connect_to": here}
        return Device(self.connection_string, **(defaults | options))


class UpstreamHandle:
    """What arrived upstream, for a thread to wait for. A message is handed out once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[Delivered] = []
        self._waiting: list[Delivered] = []

    @property
    def messages(self) -> tuple[Delivered, ...]:
        """Everything that arrived, oldest first."""
        with self._changed:
            return tuple(self._messages)

    def next_message(self, leaf: LeafHandle | str | None = None, timeout: float = 10) -> Delivered:
        """The next message (of `leaf`) not handed out yet; TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._first(leaf) is not None, timeout):
                who = f" from {leaf.device_id if isinstance(leaf, LeafHandle) else leaf}" if leaf else ""
                raise TimeoutError(f"no message{who} arrived upstream within {timeout:g} s; {self._have()}")
            found = self._first(leaf)
            assert found is not None
            self._waiting.remove(found)
            return found

    def _first(self, leaf: LeafHandle | str | None) -> Delivered | None:
        for message in self._waiting:
            if leaf is None or _identity(leaf) == (message.device_id, message.module_id):
                return message
        return None

    def _have(self) -> str:
        who = sorted({message.device_id for message in self._messages})
        return f"{len(self._messages)} came before, from {', '.join(who)}" if who else "none came at all"

    async def follow(self, gateway: Gateway) -> None:
        """Take every message out of the gateway's inbox (runs on the gateway's loop)."""
        while True:
            message = await gateway.upstream.inbox.next_message()
            with self._changed:
                self._messages.append(message)
                self._waiting.append(message)
                self._changed.notify_all()


def _identity(leaf: LeafHandle | str) -> tuple[str, str | None]:
    return (leaf, None) if isinstance(leaf, str) else (leaf.device_id, leaf.module_id)


class FaultsHandle:
    """The faults of a running gateway, switched from another thread."""

    def __init__(self, gateway: GatewayHandle) -> None:
        self._gateway = gateway

    @property
    def active(self) -> tuple[Switched, ...]:
        """What is switched on, oldest first."""
        return self._gateway.call(lambda inner: inner.faults.active)

    def add(self, name: str, **parameters: Any) -> Switched:
        """Switch a fault of `leafgate faults` on; GatewayError says what is wrong with it."""
        return self._gateway.call(lambda inner: inner.faults.add(name, **parameters))

    def remove(self, switched: Switched) -> None:
        """Switch it off."""
        self._gateway.call(lambda inner: inner.faults.remove(switched))

    def clear(self) -> None:
        """Switch everything off."""
        self._gateway.call(lambda inner: inner.faults.clear())


class GatewayHandle:
    """A running gateway, driven from another thread; a context manager."""

    def __init__(
        self,
        state: Path,
        *,
        chain: Chain | None = None,
        mqtt_port: int = 0,
        https_port: int | None = 0,
        hub_port: int | None = None,
        metrics_port: int | None = None,
        admin_port: int | None = None,
        tls: tuple[TlsVersion, ...] | None = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
        sinks: Sequence[Sink] = (),
        **plan: Any,
    ) -> None:
        self.events: list[Event] = []
        self.upstream = UpstreamHandle()
        self.faults = FaultsHandle(self)
        self._thread = LoopThread()
        self._leaves: dict[str, str] = {}
        try:
            self._gateway = Gateway(
                # A seed, so that RSA keys come out of the cache: some generations would cost seconds per test.
                chain=chain or ChainPlan(**({"seed": new_seed()} | plan)).build(),
                mqtt_port=mqtt_port,
                https_port=https_port,
                hub_port=hub_port,
                metrics_port=metrics_port,
                admin_port=admin_port,
                state=state,
                store="memory",
                tls=tls,
                clock=clock or MovableClock(),
                settings=settings,
                sinks=sinks,
            )
            self._gateway.events.subscribe(self.events.append)
            self._thread.run(self._gateway.start())
        except BaseException:
            self._thread.close()
            raise
        self._thread.start(self.upstream.follow(self._gateway))
        self._write_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the gateway and its thread."""
        self._thread.run(self._gateway.stop())
        self._thread.close()

    @property
    def hostname(self) -> str:
        """The name that leaves use for the gateway."""
        return self._gateway.hostname

    @property
    def bind(self) -> str:
        """The address it listens on."""
        return self._gateway.bind

    @property
    def mqtt_port(self) -> int:
        """The port it listens on."""
        return self._gateway.mqtt_port

    @property
    def https_port(self) -> int | None:
        """The port for MQTT over WebSocket and HTTPS; None when it has none."""
        return self._gateway.https_port

    @property
    def hub_port(self) -> int | None:
        """The port of the cloud's service API; None when it has none."""
        return self._gateway.hub_port

    @property
    def hub_root_ca(self) -> Path | None:
        """The PEM file that a client of the cloud's service API has to trust; None when there is none."""
        return self._gateway.hub_root_ca

    def service_connection_string(self, policy: str = "iothubowner", *, named: bool = False) -> str:
        """The connection string of a back end (see Gateway); the gateway has to have a `hub_port`."""
        return self.call(lambda inner: inner.service_connection_string(policy, named=named))

    @property
    def root_ca(self) -> Path:
        """The PEM file that a leaf has to trust."""
        return self._gateway.root_ca

    @property
    def chain(self) -> Chain:
        """What it serves."""
        return self._gateway.chain

    @property
    def ready_file(self) -> Path:
        """The file that says all of this to other programs."""
        return self._gateway.state / READY

    def connection_string(self, device_id: str, module_id: str | None = None) -> str:
        """The complete connection string of a device or module, which is registered if it is new."""
        return self.call(lambda inner: inner.connection_string(device_id, module_id))

    def leaf(self, device_id: str, module_id: str | None = None) -> LeafHandle:
        """A leaf with this identity, registered if it is new."""
        text = self.connection_string(device_id, module_id)
        name = f"{device_id}/{module_id}" if module_id else device_id
        if self._leaves.get(name) != text:
            self._leaves[name] = text
            self._write_ready()
        return LeafHandle(device_id, module_id, text, self)

    def reload(self, chain: Chain) -> None:
        """Serve another chain to new connections; open ones stay."""
        self.call(lambda inner: inner.reload(chain))

    def restart(self) -> None:
        """Let Edge Hub exit and start again with a new server certificate, or start if it is down; sessions stay."""
        self.wait_for(lambda inner: inner.restart())

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody, and wait until everything that is due by then has been done.

        Tokens and messages expire, retries come due, certificates are renewed. Raises CertsError for a chain that
        cannot age, and GatewayError for a clock that cannot be moved.
        """

        def move(inner: Gateway) -> None:
            if not isinstance(inner.clock, ManualClock):
                raise GatewayError("this gateway lives by the machine's clock, which nobody can move")
            inner.clock.advance(seconds)

        self.call(move)
        self.settled()

    def settled(self) -> None:
        """Wait until everything that is due by the clock has been done; for after the clock was moved."""
        self.wait_for(lambda inner: inner.settled())

    @property
    def down(self) -> bool:
        """Whether Edge Hub has exited and was not started again."""
        return self._gateway.life.down

    def call(self, work: Callable[[Gateway], Value]) -> Value:
        """Do something with the gateway itself, on its own thread."""

        async def run() -> Value:
            return work(self._gateway)

        return self._thread.run(run())

    def wait_for(self, work: Callable[[Gateway], Coroutine[Any, Any, Value]]) -> Value:
        """The same for what takes its time."""
        return self._thread.run(work(self._gateway))

    def _write_ready(self) -> None:
        ready.write(self.ready_file, ready.facts(self._gateway, self._leaves))
