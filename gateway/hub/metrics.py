"""What Edge Hub counts and times, by the names it publishes.

Rule: the data plane notes each batch as it is; batches are counted together, once a second or when somebody asks, and
not at all while nobody can. A metric has at most `MOST_SERIES` series: strangers may make up names, and what is beyond
is not counted.
Sources: doc/BuiltInMetrics.md of Azure/iotedge for names, labels and quantiles; CloudProxy.cs, DeviceMessageHandler.cs,
RoutingEdgeHub.cs, Authenticator.cs and DeviceConnectionMetrics.cs for where each is counted, and with which values.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, Event
from gateway.hub.connect import ConnackCode
from gateway.hub.messages import Message

MOST_SERIES = 10_000
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)
_MOST_RECENT = 1_000  # observations that quantiles are made of
_MOST_PENDING = 2_000  # messages that are counted together; the inbox keeps far more of them anyway
_RECENT = 600.0  # seconds after which they say nothing any more
UPSTREAM, EDGE_HUB = "upstream", "edge_hub"

Kind = Literal["counter", "summary", "gauge"]
Labels = tuple[str, ...]
Way = tuple[str, str, int]  # to whom, to which of its inputs, with what priority


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


class _Gone:
    """What one client has sent one way; `batch` is the last one that it was in."""

    __slots__ = ("batch", "took", "waited")

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.took: list[float] = []
        self.batch: object = None


class Meter:
    """Counts for one life of Edge Hub; `now` goes on as timers do, `wall` is the hub's time of day."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.now = now
        self._wall = wall
        self.counters: dict[str, Counter[Labels]] = defaultdict(Counter)
        self.summaries: dict[str, dict[Labels, Summary]] = defaultdict(dict)
        self._taken: list[Sequence[Message]] = []
        self._gone: list[tuple[Way, float, float, Sequence[Message]]] = []
        self._pending = 0  # messages in both
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
        self._taken.append(messages)
        self._note(len(messages))

    def sent(self, way: Way, batch: Sequence[Message], failed: Sequence[Message], took: float) -> None:
        """A batch has come out; nothing of `failed` has arrived.

        The senders of a batch have each its duration.
        """
        if failed or self._discarded:
            batch = self._what_arrived(way, batch, failed)
        if batch:
            self._gone.append((way, took, self._wall(), batch))
            self._note(len(batch))

    def _note(self, number: int) -> None:
        self._pending += number
        if self._pending >= _MOST_PENDING:
            self.catch_up()

    def _what_arrived(self, way: Way, batch: Sequence[Message], failed: Sequence[Message]) -> Sequence[Message]:
        lost = {message.sequence for message in failed} | self._discarded
        self._discarded.difference_update(message.sequence for message in batch)
        operation = "SendMessageAsync" if len(batch) == 1 else "SendMessageBatchAsync"
        for name in dict.fromkeys(map(sender_of, failed)) if way[0] == UPSTREAM else ():
            self.count("operation_retry", name, operation)
        return [message for message in batch if message.sequence not in lost]

    def catch_up(self) -> None:
        """Work out what has come and gone; many messages together cost a tenth of what each would."""
        self._pending = 0
        taken, self._taken = self._taken, []
        sizes: dict[tuple[str, str | None], list[float]] = defaultdict(list)
        for batch in taken:
            for message in batch:
                sizes[message[1], message[2]].append(_size(message))
                if message[2] is not None:
                    self.count("messages_received", output_of(message[5]), sender_of(message))
        for (device, module), found in sizes.items():
            if module is None:
                self.count("messages_received", "", device, by=len(found))
            self._observe("message_size_bytes", found, (_name(device, module),))
        self._count_gone()

    def _count_gone(self) -> None:
        gone, self._gone = self._gone, []
        found: dict[tuple[Way, str, str | None, str], _Gone] = defaultdict(_Gone)
        for way, took, wall, batch in gone:
            for message in batch:
                module = message[2]
                run = found[way, message[1], module, "" if module is None else output_of(message[5])]
                run.waited.append(max(0.0, wall - message[3] / 1000))
                if run.batch is not batch:
                    run.batch = batch
                    run.took.append(took)
        for ((to, to_input, priority), device, module, output), run in found.items():
            name, rank = _name(device, module), str(priority)
            self.count("messages_sent", name, to, output, to_input, rank, by=len(run.waited))
            self._observe("message_send_duration_seconds", run.took, (name, to, output, to_input))
            self._observe("message_process_duration_seconds", run.waited, (name, to, rank))

    def stored_often(self, message: Message, copies: int) -> None:
        """A message is told as taken in `copies` times, and counts once."""
        name = sender_of(message)
        self.count("messages_received", output_of(message[5]), name, by=1 - copies)
        sizes = self._summary("message_size_bytes", (name,))
        if sizes is not None:
            sizes.count += 1 - copies
            sizes.sum += _size(message) * (1 - copies)

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
    return _name(message[1], message[2])


def output_of(system_properties: str) -> str:
    """The output that a module has sent a message on; empty for most."""
    return str(json.loads(system_properties)["output-name"]) if '"output-name"' in system_properties else ""


def _name(device: str, module: str | None) -> str:
    return device if module is None else f"{device}/{module}"


def _size(message: Message) -> int:
    """Body, names and values, as the product counts; escapes in the JSON count as they are written."""
    return len(message[6]) + _weight(message[4]) + _weight(message[5])


def _weight(properties: str) -> int:
    """The length of names and values in a JSON object of texts, without quotes, colons and commas."""
    return 0 if properties == "{}" else len(properties) - 1 - 6 * properties.count('":')
