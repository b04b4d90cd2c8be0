"""Connected devices and modules.

Rule: one client per id, and at most `limit` of them. A client beyond the limit stays connected and may send telemetry,
but nothing reaches it: the product finds out only after CONNACK.
Sources: ConnectionManager.cs and DeviceMessageHandler.cs of Azure/iotedge; acknowledgements: MqttAdapter.cs of
Azure/azure-iot-protocol-gateway, where every packet sent has id 1 and is acknowledged in order.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Protocol

from gateway.hub.identity import Identity
from gateway.hub.rules import Proof
from gateway.hub.subscriptions import Feature, feature_of, granted_qos

Done = Callable[[bool], None]
_LONGEST_TOPIC = 65_535  # bytes (MQTT 3.1.1, 1.5.3)
_ALWAYS_FITS = _LONGEST_TOPIC // 4  # characters that fit in any case
_MOST_UNACKNOWLEDGED = 1_000  # the product has no such window; without one, a client could make its gateway grow


class Proxy(Protocol):
    """A connection as the hub sees it."""

    @property
    def writable(self) -> bool:
        """Whether its peer reads what it is sent."""

    def deliver(self, topic: str, payload: bytes, qos: int) -> None:
        """Send a PUBLISH."""

    def close(self, reason: str) -> None:
        """End the connection."""


class Sent(Enum):
    """What became of a message to a client."""

    YES = "it is on its way"
    NOBODY = "no subscription matches its topic"
    TOO_LONG = "its topic is longer than MQTT allows"
    BUSY = "the client does not read, or has not acknowledged far too many messages"


class Client:
    """A connected device or module.

    `filters` are its subscriptions with the QoS granted, kept by its session; `proof` is what it showed to connect.
    """

    __slots__ = ("_awaiting", "bound", "device_id", "features", "filters", "id", "module_id", "proof", "proxy")

    def __init__(
        self, identity: Identity, proxy: Proxy, filters: Mapping[str, int], proof: Proof | None = None
    ) -> None:
        self.id = identity.client_id
        self.device_id = identity.device_id
        self.module_id = identity.module_id
        self.proxy = proxy
        self.proof = proof
        self.filters = filters
        self.features = {feature for feature in map(feature_of, filters) if feature}
        self.bound = False
        self._awaiting: deque[Done] | None = None

    def send(self, topic: str, payload: bytes, done: Done | None = None) -> Sent:
        """Send if the client has subscribed; `done` is told True once it has it, False when it has gone without."""
        if len(topic) > _ALWAYS_FITS and len(topic.encode()) > _LONGEST_TOPIC:
            return Sent.TOO_LONG
        qos = granted_qos(self.filters, topic)
        if qos is None:
            return Sent.NOBODY
        if not self.proxy.writable or (self._awaiting and len(self._awaiting) >= _MOST_UNACKNOWLEDGED):
            return Sent.BUSY
        self.proxy.deliver(topic, payload, qos)
        if qos:
            if self._awaiting is None:
                self._awaiting = deque()
            self._awaiting.append(done or _nobody_asks)
        elif done is not None:
            done(True)
        return Sent.YES

    def acknowledged(self) -> bool:
        """The client has the oldest message it was sent; False when it has acknowledged all of them already."""
        if not self._awaiting:
            return False
        self._awaiting.popleft()(True)
        return True

    def gone(self) -> None:
        """The connection is over: what was not acknowledged has not arrived."""
        awaiting, self._awaiting = self._awaiting, None
        for done in reversed(awaiting or ()):  # each goes back to the front of its queue
            done(False)


class Clients:
    """The clients that can be reached, by id."""

    def __init__(self, limit: int, log: logging.Logger) -> None:
        self._limit = limit
        self._log = log
        self._clients: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._clients.values()))

    def get(self, client_id: str) -> Client | None:
        """The client with this id, if it can be reached."""
        return self._clients.get(client_id)

    def listening(self, client_id: str, feature: Feature) -> Client | None:
        """The client with this id, if it can be reached and has subscribed to the feature."""
        client = self._clients.get(client_id)
        return client if client is not None and feature in client.features else None

    def bind(self, client: Client) -> bool:
        """Make a client reachable; False when there are too many already."""
        if client.id not in self._clients and len(self._clients) >= self._limit:
            cause = f"Edge hub already has maximum allowed clients ({self._limit}) connected."
            self._log.error("Error binding device proxy for device %s: %s", client.id, cause)
            return False
        self._clients[client.id] = client
        client.bound = True
        return True

    def remove(self, client: Client) -> None:
        """Forget a client, unless another connection has its id by now."""
        if self._clients.get(client.id) is client:
            del self._clients[client.id]


def _nobody_asks(arrived: bool) -> None:
    """For messages whose fate changes nothing: twin answers, desired properties, method calls."""
