"""From the store to every endpoint: one outbox each for the cloud and for each module input.

Rule: nothing here decides whether a message is kept; that is done when this is told of it. A configuration replaces
the routes at once; queues that no route leads to any more are still emptied.
Sources: StoringAsyncEndpointExecutor.cs, ModuleEndpoint.cs and RoutingModule.cs (clean-up every 1,800 s) of
Azure/iotedge.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.errors import StoreError
from gateway.hub.messages import InputMessage, Message
from gateway.hub.metrics import UPSTREAM, Meter
from gateway.hub.outbox import Outbox, Send, Stored
from gateway.hub.routing import Input, Sink, Upstream
from gateway.hub.routing.config import EdgeHubConfig
from gateway.hub.routing.router import Router, Target
from gateway.hub.topics import Telemetry

CLEANUP_PERIOD = 1_800.0


class QueueStore(Stored, Protocol):
    """The part of a store that forwarding needs."""

    def queues(self) -> Mapping[str, int]:
        """See gateway.store.Store."""

    def count(self, queue: str) -> int:
        """See gateway.store.Store."""


#: sends to a module's input, and tells whether the module has acknowledged
SendToInput = Callable[[str, InputMessage, Callable[[bool], None]], None]


class Forwarder:
    """Knows where messages go, and sees that they get there. `dropped` counts messages by reason."""

    def __init__(
        self,
        store: QueueStore,
        config: EdgeHubConfig,
        *,
        to_cloud: Send,
        to_input: SendToInput,
        edge_device_id: str,
        now: Callable[[], float],
        log: logging.Logger,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self.dropped: Counter[str] = Counter()
        self._store = store
        self._to_cloud = to_cloud
        self._to_input = to_input
        self._edge_device_id = edge_device_id
        self._now = now
        self._log = log
        self._outboxes: dict[Sink, Outbox] = {}
        self._queues: dict[str, tuple[Outbox, int]] = {}
        self._cleaned = now()
        self._config = config
        self._router = Router(config)

    def start(self) -> None:
        """Take on what waits in the store, and send it."""
        for name, delivered in self._store.queues().items():
            priority, _, endpoint = name.partition(" ")
            module, _, name_of_input = endpoint.partition("/")
            sink = Input(module, name_of_input) if name_of_input else Upstream()
            self._open(name, sink, int(priority), delivered)
        self._pump()

    def configure(self, config: EdgeHubConfig) -> None:
        """Use other routes from now on."""
        self._config = config
        self._router = Router(config)

    def targets(self, telemetry: Telemetry, body: bytes) -> tuple[Target, ...]:
        """Return the queues to store a message in; none means that no route takes it."""
        targets = self._router.targets(telemetry, body)
        if len(targets) != 1:
            self._count(telemetry, body, len(targets))
        return targets

    def _count(self, telemetry: Telemetry, body: bytes, copies: int) -> None:
        """A message that no route takes, or several do: the meter counts what is stored."""
        if not copies:
            self.dropped["no_route"] += 1
        if self._meter is not None:
            device_id, module_id, properties, system = telemetry
            message = Message(0, device_id, module_id, 0, properties, system, body)
            if copies:
                self._meter.stored_often(message, copies)
            else:
                self._meter.received([message])
                self._meter.dropped("no_route", [message])

    def queue_lengths(self) -> dict[tuple[str, int], int]:
        """How many messages wait, by endpoint ("$upstream" or "module/input") and priority. Raises StoreError."""
        self.settle()
        return {
            (name.partition(" ")[2], priority): self._store.count(name) for name, (_, priority) in self._queues.items()
        }

    def stored(self, target: Target, messages: Sequence[Message]) -> None:
        """Messages are in the store: send them when it is their turn."""
        if self._meter is not None:
            self._meter.received(messages)
        found = self._queues.get(target.queue)
        if found is None:
            found = self._open(target.queue, target.sink, target.priority, messages[0].sequence - 1)
        outbox, priority = found
        outbox.add(priority, messages)
        outbox.pump()

    def cloud_is_back(self) -> None:
        """IoT Hub can be reached again."""
        self._retry(lambda sink: isinstance(sink, Upstream))

    def module_is_back(self, module_id: str) -> None:
        """A module has subscribed to its inputs."""
        self._retry(lambda sink: isinstance(sink, Input) and sink.module_id == module_id)

    def tick(self) -> None:
        """Let time take effect: retries, and every half hour what has outlived its time."""
        if self._now() - self._cleaned >= CLEANUP_PERIOD:
            self._cleaned = self._now()
            self._clean_up()
        self._pump()

    def settle(self) -> None:
        """Drop from the store what has arrived."""
        for outbox in self._outboxes.values():
            outbox.settle()

    def _clean_up(self) -> None:
        for outbox in self._outboxes.values():
            try:
                self.dropped["ttl_expiry"] += outbox.expire(self._config.time_to_live)
            except StoreError as error:
                self._log.error("%s", error.message)

    def _open(self, queue: str, sink: Sink, priority: int, delivered: int) -> tuple[Outbox, int]:
        outbox = self._outboxes.get(sink)
        if outbox is None:
            send = self._to_cloud if isinstance(sink, Upstream) else self._sender(sink)
            outbox = self._outboxes[sink] = Outbox(
                self._store, self._timed(sink, send), self._now, self._log, expired=self._expired
            )
        outbox.open(priority, queue, delivered)
        self._queues[queue] = (outbox, priority)
        return self._queues[queue]

    def _expired(self, messages: Sequence[Message]) -> None:
        if self._meter is not None:
            self._meter.dropped("ttl_expiry", messages)

    def _timed(self, sink: Sink, send: Send) -> Send:
        """Let the meter know what comes of each batch."""
        meter = self._meter
        if meter is None:
            return send
        to, name = UPSTREAM, ""
        if isinstance(sink, Input):
            to, name = f"{self._edge_device_id}/{sink.module_id}", sink.name

        def timed(messages: Sequence[Message], done: Callable[[Sequence[Message]], None]) -> None:
            since, way = meter.now(), (to, name, self._outboxes[sink].priority)

            def told(failed: Sequence[Message]) -> None:
                meter.sent(way, messages, failed, meter.now() - since)
                done(failed)

            send(messages, told)

        return timed

    def _sender(self, sink: Input) -> Send:
        """Send to a module one message after the other; from the first it does not take on, all have failed."""
        module = f"{self._edge_device_id}/{sink.module_id}"

        def send(messages: Sequence[Message], done: Callable[[Sequence[Message]], None]) -> None:
            def acknowledged(arrived: bool) -> None:
                if arrived and len(messages) > 1:
                    send(messages[1:], done)
                else:
                    done(() if arrived else messages)

            self._to_input(module, _input_message(sink, messages[0]), acknowledged)

        return send

    def _pump(self) -> None:
        for outbox in list(self._outboxes.values()):
            outbox.pump()

    def _retry(self, which: Callable[[Sink], bool]) -> None:
        for sink, outbox in list(self._outboxes.items()):
            if which(sink):
                outbox.retry_now()


def _input_message(sink: Input, message: Message) -> InputMessage:
    system = json.loads(message.system_properties)
    system["connection-device-id"] = message.device_id
    if message.module_id is not None:
        system["connection-module-id"] = message.module_id
    properties = {name: value or "" for name, value in json.loads(message.properties).items()}
    return InputMessage(sink.name, message.body, properties, system)
