"""From the store to every endpoint: one outbox each for the cloud and for each module input.

Rule: nothing here decides whether a message is kept; that is done when this is told of it. A configuration replaces
the routes at once; queues that no route leads to any more are still emptied.
Sources: StoringAsyncEndpointExecutor.cs, ModuleEndpoint.cs, MessageStore.cs (`GetCleanupTaskSleepTime`) and
ConfigUpdater.cs (store limits) of Azure/iotedge.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.config import Settings
from gateway.hub.cloud_endpoint import CloudEndpoint
from gateway.hub.messages import InputMessage, Message
from gateway.hub.metrics import UPSTREAM, Meter
from gateway.hub.outbox import Later, Outbox, Send, Stored
from gateway.hub.routing import Input, Sink, Upstream
from gateway.hub.routing.config import EdgeHubConfig
from gateway.hub.routing.router import Router, Target
from gateway.hub.routing.source import SENDER_DEVICE, SENDER_MODULE
from gateway.hub.topics import Telemetry

_LONGEST_CLEANUP, _SHORTEST_CLEANUP = 1_800.0, 30.0
_INPUT_BATCH = 10  # AsyncEndpointExecutorOptions; a module takes one message at a time


class QueueStore(Stored, Protocol):
    """The part of a store that forwarding needs."""

    def queues(self) -> Mapping[str, int]:
        """See gateway.store.Store."""

    def count(self, queue: str) -> int:
        """See gateway.store.Store."""

    def limit(self, size: int | None) -> None:
        """See gateway.store.Store."""


#: sends to a module's input, and tells whether the module has acknowledged
SendToInput = Callable[[str, InputMessage, Callable[[bool], None]], None]


class Forwarder:
    """Knows where messages go, and sees that they get there. `dropped` counts messages by reason.

    `instant` tells whether the line to the cloud carries anything in no time.
    """

    def __init__(
        self,
        store: QueueStore,
        config: EdgeHubConfig,
        *,
        to_cloud: Send,
        instant: Callable[[], bool] = lambda: False,
        to_input: SendToInput,
        edge_device_id: str,
        settings: Settings,
        now: Callable[[], float],
        later: Later,
        log: logging.Logger,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self.dropped: Counter[str] = Counter()
        self._store = store
        batch_size, fan_out = settings.max_upstream_batch_size, settings.upstream_fan_out
        self._to_cloud = CloudEndpoint(to_cloud, batch_size=batch_size, fan_out=fan_out, instant=instant).send
        self._settings = settings
        self._later = later
        self._to_input = to_input
        self._edge_device_id = edge_device_id
        self._now = now
        self._log = log
        self._outboxes: dict[Sink, Outbox] = {}
        self._queues: dict[str, tuple[Outbox, int]] = {}
        self._cleaned = now()
        self.configure(config)

    def start(self) -> None:
        """Take on what waits in the store; the first of it is sent at once, the rest in later turns of the loop."""
        for name, delivered in self._store.queues().items():
            priority, _, endpoint = name.partition(" ")
            module, _, name_of_input = endpoint.partition("/")
            sink = Input(module, name_of_input) if name_of_input else Upstream()
            self._open(name, sink, int(priority), delivered)
        self._pump()

    def configure(self, config: EdgeHubConfig) -> None:
        """Use other routes, another time to live and another limit from now on."""
        self._config = config
        self._router = Router(config, self._edge_device_id)
        self._store.limit(config.max_size)

    def targets(self, telemetry: Telemetry, body: bytes) -> tuple[Target, ...]:
        """Return the queues to store a message in; none means that no route takes it."""
        targets = self._router.targets(telemetry, body)
        if len(targets) != 1 and self._router.counts(telemetry):
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
        """Let time take effect: retries, what is forgotten, and every half hour what has outlived its time."""
        if self._now() - self._cleaned >= self._cleanup_period:
            self._cleaned = self._now()
            for outbox in self._outboxes.values():
                outbox.clean_up(entire=self._settings.check_entire_queue_on_cleanup)
        self._pump()
        self.settle()

    def settle(self) -> None:
        """Drop from the store what has arrived."""
        for outbox in self._outboxes.values():
            outbox.settle()

    def close(self) -> None:
        """Settle, and touch the store no more."""
        for outbox in self._outboxes.values():
            outbox.close()

    def queue_lengths(self) -> dict[tuple[str, int], int]:
        """How many messages wait, by endpoint ("$upstream" or "module/input") and priority. Raises StoreError."""
        self.settle()
        return {
            (name.partition(" ")[2], priority): self._store.count(name) for name, (_, priority) in self._queues.items()
        }

    @property
    def _cleanup_period(self) -> float:
        period = self._settings.message_cleanup_interval
        if period < 0:
            time_to_live = self._config.time_to_live
            period = _LONGEST_CLEANUP if time_to_live < 0 else min(time_to_live / 2, _LONGEST_CLEANUP)
        return max(period, _SHORTEST_CLEANUP)

    def _expired(self, messages: Sequence[Message]) -> None:
        self.dropped["ttl_expiry"] += len(messages)
        if self._meter is not None:
            self._meter.dropped("ttl_expiry", messages)

    def _open(self, queue: str, sink: Sink, priority: int, delivered: int) -> tuple[Outbox, int]:
        outbox = self._outboxes.get(sink)
        if outbox is None:
            outbox = self._outboxes[sink] = self._outbox(sink)
        outbox.open(priority, queue, delivered)
        self._queues[queue] = (outbox, priority)
        return self._queues[queue]

    def _outbox(self, sink: Sink) -> Outbox:
        to_cloud = isinstance(sink, Upstream)
        return Outbox(
            self._store,
            self._timed(sink, self._to_cloud if isinstance(sink, Upstream) else self._sender(sink)),
            self._now,
            self._log,
            later=self._later,
            time_to_live=lambda: self._config.time_to_live,
            expired=self._expired,
            batch=self._settings.max_upstream_batch_size * self._settings.upstream_fan_out
            if to_cloud
            else _INPUT_BATCH,
        )

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
    system["connection-device-id"] = system.pop(SENDER_DEVICE, message.device_id)
    module_id = system.pop(SENDER_MODULE, message.module_id)
    if module_id is not None:
        system["connection-module-id"] = module_id
    properties = {name: value or "" for name, value in json.loads(message.properties).items()}
    return InputMessage(sink.name, message.body, properties, system)
