"""The listeners and what their connections share."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from gateway.broker import wire
from gateway.broker.carrier import Carriers
from gateway.broker.connection import Connection
from gateway.broker.intake import Intake
from gateway.broker.report import Report
from gateway.broker.sessions import Sessions
from gateway.broker.tls import TlsContext
from gateway.clock import Clock
from gateway.config import Settings
from gateway.errors import PortError
from gateway.hub.connect import Admission, Will
from gateway.hub.edge import EdgeHub
from gateway.hub.topics import Telemetry, TopicError, TwinTopicError, parse_request, parse_telemetry

_BACKLOG = 1_024
_READ_SIZE = 65_536
_SWEEP_SECONDS = 1.0
_TOPIC_CACHE = 4_096
_CACHED_TOPIC_SIZE = 512  # longer ones are read anew each time: 4,096 of them could be half a gigabyte
_ADVICE = {
    errno.EADDRINUSE: "another program has this port: stop it, or take another port (0 means any free one)",
    errno.EACCES: "ports below 1024 need a privilege: take another port, or allow it (sysctl "
    "net.ipv4.ip_unprivileged_port_start, or setcap cap_net_bind_service)",
    errno.EADDRNOTAVAIL: "this machine has no such address: 127.0.0.1 is the default of --bind",
}


@dataclass(frozen=True, slots=True)
class Head:
    """One listener: the product's log line for its port, the option that sets it, and what carries MQTT there."""

    started: str
    option: str
    carriers: Carriers | None = None


MQTT = Head("Initializing TLS endpoint on port %d for MQTT head.", "--mqtt-port")


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
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.closing: set[Connection] = set()  # ended, but the socket is still there
        self.stopping = False
        self.read_buffer = memoryview(bytearray(_READ_SIZE))
        self._channels = count(1)
        self._telemetry: dict[bytes, Telemetry] = {}
        self._to_flush: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._unsubscribe = clock.subscribe(self._clock_moved)

    async def listen(self, address: str, port: int, log: logging.Logger, head: Head = MQTT) -> int:
        """Open a listener; returns the port it got. Raises PortError."""
        try:
            listening = _bind(address, port)
        except (OSError, OverflowError) as wrong:
            number = getattr(wrong, "errno", None) or 0
            # resolvers have negative numbers, which strerror does not know
            reason = os.strerror(number) if number > 0 else getattr(wrong, "strerror", None) or str(wrong)
            reason = reason.lower()
            hint = _ADVICE.get(number, f"check --bind and {head.option}")
            raise PortError(address, port, reason, hint) from None
        accept = partial(Connection, self, head.carriers)
        self._listeners.append(await self.loop.create_server(accept, sock=listening, backlog=_BACKLOG))
        bound: int = listening.getsockname()[1]
        log.info(head.started, bound)
        if self._sweeper is None:
            self._schedule_sweep()
        return bound

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._unsubscribe()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
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
        return lambda: self.edge.requested(connection.client, request, body)

    def telemetry(self, connection: Connection, raw_topic: bytes, header: int) -> Telemetry | None:
        """What a PUBLISH to this topic is, ready to be stored; None when it goes nowhere, which has then been told.

        Raises MalformedPacketError for a topic the connection has to end for.
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
            return parse_telemetry(topic)
        except TopicError as wrong:
            self._drop(connection, topic, wrong)
            return None

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


def _bind(address: str, port: int) -> socket.socket:
    """One socket for the listener.

    asyncio would open one per address family, which may get different ports, and its words for what went wrong differ
    from one Python to the next. The protocol has to be named: asyncio switches Nagle's algorithm off for TCP alone, and
    an answer that waits for the peer's delayed acknowledgement doubles the time of a handshake.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except (OSError, OverflowError):
        bound.close()
        raise
    return bound


def _with_flags(telemetry: Telemetry, header: int) -> Telemetry:
    """The product turns the flags of a PUBLISH into application properties; nothing is ever retained."""
    flags = {name: "true" for bit, name in ((0x01, "mqtt-retain"), (0x08, "mqtt-dup")) if header & bit}
    return _with_properties(telemetry, flags)


def _with_properties(telemetry: Telemetry, further: dict[str, str]) -> Telemetry:
    merged: dict[str, Any] = json.loads(telemetry.properties) | further
    return telemetry._replace(properties=json.dumps(merged, separators=(",", ":"), ensure_ascii=False))
