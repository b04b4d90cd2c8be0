"""What Edge Hub counts and times, by the names it publishes.

Rule: counting costs the data plane a loop over each batch and nothing else; whatever can be worked out when somebody
asks is. A metric has at most `MOST_SERIES` series: strangers may make up names, and what is beyond is not counted.
Sources: doc/BuiltInMetrics.md of Azure/iotedge for names, labels and quantiles; CloudProxy.cs, DeviceMessageHandler.cs,
RoutingEdgeHub.cs, Authenticator.cs and DeviceConnectionMetrics.cs for where each is counted, and with which values.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, Event
from gateway.hub.connect import ConnackCode
from gateway.hub.messages import Message

MOST_SERIES = 10_000
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)
_MOST_RECENT = 1_000  # observations that quantiles are made of
_RECENT = 600.0  # seconds after which they say nothing any more
UPSTREAM, EDGE_HUB = "upstream", "edge_hub"

Kind = Literal["counter", "summary", "gauge"]
Labels = tuple[str, ...]


class Metric(NamedTuple):
    """One metric; `told` is whether the product marks it as part of its own telemetry (label ms_telemetry)."""

    kind: Kind
    help: str
    labels: Labels
    told: bool = False


METRICS: Mapping[str, Metric] = {
    "gettwin": Metric("counter", "Get twin calls", ("source", "id"), told=True),
    "messages_received": Metric(
        "counter", "Number of messages received from client", ("route_output", "id"), told=True
    ),
    "messages_sent": Metric(
        "counter",
        "Messages sent from edge hub",
        ("from", "to", "from_route_output", "to_route_input", "priority"),
        told=True,
    ),
    "reported_properties": Metric("counter", "Reported properties update calls", ("target", "id"), told=True),
    "message_size_bytes": Metric("summary", "Size of messages received by EdgeHub", ("id",)),
    "gettwin_duration_seconds": Metric("summary", "Time taken to get twin", ("source", "id")),
    "message_send_duration_seconds": Metric(
        "summary", "Time taken to send a message", ("from", "to", "from_route_output", "to_route_input")
    ),
    "message_process_duration_seconds": Metric(
        "summary", "Time taken to process message in EdgeHub", ("from", "to", "priority"), told=True
    ),
    "reported_properties_update_duration_seconds": Metric(
        "summary", "Time taken to update reported properties", ("target", "id")
    ),
    "direct_method_duration_seconds": Metric("summary", "Time taken to call direct method", ("from", "to")),
    "direct_methods": Metric("counter", "Direct methods routed through EdgeHub", ("from", "to"), told=True),
    "queue_length": Metric("gauge", "Number of messages pending to be processed", ("endpoint", "priority"), told=True),
    "messages_dropped": Metric("counter", "Messages dropped", ("reason", "from", "from_route_output"), told=True),
    "messages_unack": Metric(
        "counter", "Messages not acknowledged", ("reason", "from", "from_route_output"), told=True
    ),
    "offline_count": Metric("counter", "EdgeHub offline count", ("id",), told=True),
    "offline_duration_seconds": Metric("summary", "EdgeHub offline time", ("id",), told=True),
    "operation_retry": Metric("counter", "Operation retries", ("id", "operation"), told=True),
    "client_connect_failed": Metric("counter", "Client connection failure", ("id", "reason"), told=True),
    "client_connect_success": Metric(
        "counter", "Total number of times each client successfully connected to edgeHub", ("id",)
    ),
    "client_disconnect": Metric("counter", "Total number of times each client disconnected from edgeHub", ("id",)),
    "connected_clients": Metric("gauge", "Current number of clients connected to edgeHub", ()),
}


class Summary:
    """How many observations there were, their sum, and the latest of them for quantiles."""

    __slots__ = ("_last", "_recent", "count", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self._recent: deque[float] = deque(maxlen=_MOST_RECENT)
        self._last = -math.inf

    def observe(self, values: Sequence[float], now: float) -> None:
        """Take some."""
        self.count += len(values)
        self.sum += sum(values)
        self._recent.extend(values)
        self._last = now

    def quantiles(self, now: float) -> list[float]:
        """The values of QUANTILES; not a number when nothing was observed of late."""
        if now - self._last > _RECENT or not self._recent:
            return [math.nan] * len(QUANTILES)
        ordered = sorted(self._recent)
        return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in QUANTILES]


class Meter:
    """Counts for one life of Edge Hub; `now` goes on as timers do, `wall` is the hub's time of day."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.now = now
        self._wall = wall
        self.counters: dict[str, Counter[Labels]] = defaultdict(Counter)
        self.summaries: dict[str, dict[Labels, Summary]] = defaultdict(dict)
        self._discarded: set[int] = set()

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Count something."""
        counter = self.counters[name]
        if labels in counter or len(counter) < MOST_SERIES:
            counter[labels] += by

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Note a duration in seconds or a size in bytes."""
        self._observe(name, (value,), labels)

    def _observe(self, name: str, values: Sequence[float], labels: Labels) -> None:
        summary = self._summary(name, labels)
        if summary is not None:
            summary.observe(values, self.now())

    def _summary(self, name: str, labels: Labels) -> Summary | None:
        found = self.summaries[name]
        summary = found.get(labels)
        if summary is None and len(found) < MOST_SERIES:
            summary = found[labels] = Summary()
        return summary

    # -- messages -----------------------------------------------------------------------------------------------------

    def received(self, messages: Sequence[Message]) -> None:
        """A batch of telemetry was taken in."""
        for name, run in _by_client(messages):
            self._observe("message_size_bytes", [_size(message) for message in run], (name,))
            if run[0][2] is None:
                self.count("messages_received", "", name, by=len(run))
            else:
                for message in run:
                    self.count("messages_received", output_of(message[5]), name)

    def stored_often(self, message: Message, copies: int) -> None:
        """A message is told as taken in `copies` times, and counts once."""
        name = sender_of(message)
        self.count("messages_received", output_of(message[5]), name, by=1 - copies)
        sizes = self._summary("message_size_bytes", (name,))
        if sizes is not None:
            sizes.count += 1 - copies
            sizes.sum += _size(message) * (1 - copies)

    def sent(self, way: tuple[str, str, int], batch: Sequence[Message], failed: Sequence[Message], took: float) -> None:
        """A batch has come out; nothing of `failed` has arrived. `way` is to whom, to which input, with what priority.

        The senders of a batch have each its duration.
        """
        to, to_input, priority = way
        lost = {message.sequence for message in failed} | self._discarded if failed or self._discarded else None
        wall, rank = self._wall(), str(priority)
        for name, run in _by_client(batch):
            arrived = run if lost is None else [message for message in run if message[0] not in lost]
            if arrived:
                waited = [max(0.0, wall - message[3] / 1000) for message in arrived]
                self._observe("message_process_duration_seconds", waited, (name, to, rank))
            for output, number in _by_output(arrived).items():
                self.count("messages_sent", name, to, output, to_input, rank, by=number)
                self.observe("message_send_duration_seconds", took, name, to, output, to_input)
        operation = "SendMessageAsync" if len(batch) == 1 else "SendMessageBatchAsync"
        for name in dict.fromkeys(map(sender_of, failed)) if to == UPSTREAM else ():
            self.count("operation_retry", name, operation)
        if self._discarded:
            self._discarded.difference_update(message[0] for message in batch)

    def discarded(self, messages: Iterable[Message]) -> None:
        """The cloud will never take these, which are told as delivered next."""
        self._discarded.update(message.sequence for message in messages)

    def dropped(self, reason: str, messages: Iterable[Message]) -> None:
        """Messages go nowhere: no_route or ttl_expiry."""
        for message in messages:
            self.count("messages_dropped", reason, sender_of(message), output_of(message.system_properties))

    def unstored(self, messages: Sequence[Message]) -> None:
        """A batch could not be stored, and is not acknowledged."""
        self.received(messages)
        for message in messages:
            output = output_of(message.system_properties)
            self.count("messages_unack", "storage_failure", sender_of(message), output)

    # -- clients ------------------------------------------------------------------------------------------------------

    def see(self, event: Event) -> None:
        """Something has happened to a client."""
        match event:
            case ClientConnected(client_id=name):
                self.count("client_connect_success", name)
            case ClientDisconnected(client_id=name):
                self.count("client_disconnect", name)
            case ConnectionRefused(client_id=str(name), code=ConnackCode.NOT_AUTHORIZED):
                self.count("client_connect_failed", name, "not_authenticated")


def sender_of(message: Message) -> str:
    """The client id that a message comes from."""
    return message[1] if message[2] is None else f"{message[1]}/{message[2]}"


def output_of(system_properties: str) -> str:
    """The output that a module has sent a message on; empty for most."""
    return str(json.loads(system_properties)["output-name"]) if '"output-name"' in system_properties else ""


def _by_client(messages: Sequence[Message]) -> Iterator[tuple[str, Sequence[Message]]]:
    """A batch in runs of messages of one client, whose id is the same object in all of them as a rule."""
    since, device, module = 0, messages[0][1], messages[0][2]
    for place, message in enumerate(messages):
        if message[1] is not device or message[2] is not module:
            yield sender_of(messages[since]), messages[since:place]
            since, device, module = place, message[1], message[2]
    yield sender_of(messages[since]), messages[since:] if since else messages


def _by_output(messages: Sequence[Message]) -> Mapping[str, int]:
    """How many of one client's messages came on which output."""
    if not messages or messages[0][2] is None:
        return {"": len(messages)} if messages else {}
    return Counter(output_of(message[5]) for message in messages)


def _size(message: Message) -> int:
    """Body, names and values, as the product counts; escapes in the JSON count as they are written."""
    properties, system = message[4], message[5]
    size = len(message[6])
    if properties != "{}":
        size += len(properties) - 1 - 6 * properties.count('":')
    if system != "{}":
        size += len(system) - 1 - 6 * system.count('":')
    return size
