"""The listeners and what their connections share."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from gateway.broker import wire
from gateway.broker.carrier import Carriers
from gateway.broker.connection import Connection
from gateway.broker.failures import Uncached, WithheldError
from gateway.broker.intake import Intake
from gateway.broker.listener import Listener
from gateway.broker.report import Report
from gateway.broker.sessions import Sessions
from gateway.broker.tls import TlsContext
from gateway.clock import Clock
from gateway.config import Settings
from gateway.hub.connect import Admission, Verdict, Will
from gateway.hub.edge import EdgeHub
from gateway.hub.topics import (
    MethodResponse,
    Telemetry,
    TopicError,
    TwinTopicError,
    parse_request,
    parse_telemetry,
)
from gateway.hub.twin import TwinError
from gateway.ports import claim

_READ_SIZE = 65_536
_SWEEP_SECONDS = 1.0
_TOPIC_CACHE = 4_096
_CACHED_TOPIC_SIZE = 512  # longer ones are read anew each time: 4,096 of them could be half a gigabyte


@dataclass(frozen=True, slots=True)
class Head:
    """One listener: the product's log line for its port, the option that sets it, and what carries MQTT there."""

    started: str
    option: str
    carriers: Carriers | None = None
    name: str = "https"


MQTT = Head("Initializing TLS endpoint on port %d for MQTT head.", "--mqtt-port", name="mqtt")


class Interference(Protocol):
    """What may be wrong on purpose between the gateway and its clients."""

    def accepted(self, connection: Connection) -> asyncio.BaseProtocol:
        """What a new connection's transport talks to: the connection, or what stands before it."""

    def judged(self, connection: Connection, client_id: str, verdict: Verdict) -> Verdict:
        """The verdict about a CONNECT, or another one."""


class Server:
    """Listens, and owns what all connections share: TLS, rules, sessions, intake, clock and voice."""

    def __init__(
        self,
        *,
        tls: TlsContext,
        admission: Admission,
        sessions: Sessions,
        intake: Intake,
        edge: EdgeHub,
        ticks: Sequence[Callable[[], None]],
        report: Report,
        clock: Clock,
        settings: Settings,
        faults: Interference,
    ) -> None:
        self.tls = tls
        self.admission = admission
        self.sessions = sessions
        self.intake = intake
        self.edge = edge
        self._ticks = ticks
        self.report = report
        self.clock = clock
        self.settings = settings
        self.faults = faults
        self.orders: Callable[[str, Telemetry], bool] | None = None  # takes telemetry that is no message but an order
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.closing: set[Connection] = set()  # ended, but the socket is still there
        self.stopping = False
        self.read_buffer = memoryview(bytearray(_READ_SIZE))
        self._channels = count(1)
        self._telemetry: dict[bytes, Telemetry] = {}
        self._to_flush: set[Connection] = set()
        self._failing: dict[str, TwinError] = {}
        self._listeners: list[tuple[str, Listener]] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._unsubscribe = clock.subscribe(self._clock_moved)

    async def listen(self, address: str, port: int, log: logging.Logger, head: Head = MQTT) -> int:
        """Open a listener; returns the port it got. Raises PortError."""
        listening = claim(address, port, head.option)
        opened = Listener(lambda: self.faults.accepted(Connection(self, head.carriers)), listening)
        await opened.open()
        self._listeners.append((head.name, opened))
        log.info(head.started, opened.port)
        if self._sweeper is None:
            self._schedule_sweep()
        return opened.port

    @property
    def ports(self) -> Mapping[int, str]:
        """What listens where: "mqtt" or "https"."""
        return {each.port: name for name, each in self._listeners}

    def shut(self, listener: str) -> None:
        """Refuse new connections at a listener."""
        for name, each in self._listeners:
            if name == listener:
                each.shut()

    def reopen(self, listener: str) -> None:
        """Take them again."""
        for name, each in self._listeners:
            if name == listener:
                each.reopen()

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._unsubscribe()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for _, each in self._listeners:
            each.close()
        self.stopping = True
        for connection in tuple(self.connections):
            connection.close("the gateway is stopping")
        self.intake.commit()
        self.edge.settle()
        await _some_turns()
        for connection in tuple(self.closing):
            connection.abort()
        await _some_turns()

    def next_channel(self) -> str:
        """The eight hex digits by which the log names the next connection."""
        return f"{next(self._channels):08x}"

    def sweep(self) -> None:
        """Let time take effect: on the hub, and on connections whose deadline has passed."""
        for tick in self._ticks:
            tick()
        now = self.clock.monotonic()
        for connection in [each for each in self.connections if each.deadline <= now]:
            connection.expire()

    def flush_soon(self, connection: Connection) -> None:
        """Send what is pending for a connection in this turn of the loop."""
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.add(connection)

    def _flush(self) -> None:
        to_flush, self._to_flush = self._to_flush, set()
        for connection in to_flush:
            if connection.pending:
                connection.flush()

    def request(self, connection: Connection, raw_topic: bytes, body: bytes) -> Callable[[], None] | None:
        """What answers a PUBLISH below $iothub/ once it is acknowledged; None for one that goes nowhere.

        Raises MalformedPacketError for a topic the connection has to end for.
        """
        topic = wire.read_topic(raw_topic)
        try:
            request = parse_request(topic)
        except TwinTopicError as wrong:
            raise wire.MalformedPacketError(str(wrong)) from None
        except TopicError as wrong:
            self._drop(connection, topic, wrong)
            return None
        failure = self._failing.get(connection.client.id)
        if failure is not None and not isinstance(request, MethodResponse):
            return lambda: self.edge.refused(connection.client, request, failure)
        return lambda: self.edge.requested(connection.client, request, body)

    def telemetry(self, connection: Connection, raw_topic: bytes, header: int) -> Telemetry | None:
        """What a PUBLISH to this topic is, ready to be stored; None when it goes nowhere, which has then been told.

        Raises MalformedPacketError for a topic the connection has to end for, WithheldError for what gets no answer.
        """
        found = self._telemetry.get(raw_topic)
        if found is None:
            found = self._read_topic(connection, raw_topic)
            if found is None:
                return None
            if len(raw_topic) <= _CACHED_TOPIC_SIZE:
                if len(self._telemetry) >= _TOPIC_CACHE:
                    self._telemetry.clear()
                self._telemetry[raw_topic] = found
        return _with_flags(found, header) if header & 0x09 else found

    def _read_topic(self, connection: Connection, raw_topic: bytes) -> Telemetry | None:
        topic = wire.read_topic(raw_topic)
        try:
            telemetry = parse_telemetry(topic)
        except TopicError as wrong:
            self._drop(connection, topic, wrong)
            return None
        client_id = connection.client_id or ""
        if self.orders is not None and self.orders(client_id, telemetry):
            return None
        if client_id in self._failing:
            raise WithheldError
        return telemetry

    def fail(self, client_id: str, failure: TwinError) -> None:
        """Let what a client wants of IoT Hub fail from now on: telemetry without a word, twin requests with this."""
        self._failing[client_id] = failure
        self._telemetry = Uncached()

    def recover(self, client_id: str) -> None:
        """Let it succeed again."""
        self._failing.pop(client_id, None)
        if not self._failing:
            self._telemetry = {}

    def _drop(self, connection: Connection, topic: str, wrong: TopicError) -> None:
        """Edge Hub acknowledges what means nothing and goes on; IoT Hub closes the connection."""
        self.report.dropped(connection, topic, str(wrong))
        if self.settings.strict:
            raise wire.MalformedPacketError(str(wrong))

    def send_will(self, connection: Connection, will: Will) -> None:
        """Store a will as the telemetry it becomes, marked MessageType=Will."""
        try:
            telemetry = self.telemetry(connection, will.topic.encode(), 0)
        except wire.MalformedPacketError as wrong:
            self.report.dropped(connection, will.topic, str(wrong))
            return
        except WithheldError:
            return
        if telemetry is not None:
            self.intake.accept(connection, None, _with_properties(telemetry, {"MessageType": "Will"}), will.payload)

    def _schedule_sweep(self) -> None:
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep_again)

    def _sweep_again(self) -> None:
        self.sweep()
        self._schedule_sweep()

    def _clock_moved(self) -> None:
        self.loop.call_soon_threadsafe(self.sweep)


async def _some_turns() -> None:
    """Let the loop turn until sockets are closed that can be, and the last accepted ones have turned up."""
    for _ in range(3):
        await asyncio.sleep(0)


def _with_flags(telemetry: Telemetry, header: int) -> Telemetry:
    """The product turns the flags of a PUBLISH into application properties; nothing is ever retained."""
    flags = {name: "true" for bit, name in ((0x01, "mqtt-retain"), (0x08, "mqtt-dup")) if header & bit}
    return _with_properties(telemetry, flags)


def _with_properties(telemetry: Telemetry, further: dict[str, str]) -> Telemetry:
    merged: dict[str, Any] = json.loads(telemetry.properties) | further
    return telemetry._replace(properties=json.dumps(merged, separators=(",", ":"), ensure_ascii=False))
