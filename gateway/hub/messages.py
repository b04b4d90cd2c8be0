"""A device-to-cloud message on its way through the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID, uuid5

_NAMESPACE = UUID("6d1c9a3e-0c55-4d0e-9a53-3a6f0b6b5f0e")  # drawn once, for messages of leafgate


class Message(NamedTuple):
    """One message as stored: `enqueued` in milliseconds since 1970 UTC, both property sets as JSON objects in text.

    `sequence` is the number under which the store knows it; numbers grow in the order of acknowledgement and are never
    used twice. `time_to_live` is in seconds, below 0 for ever, 0 for the hub's own at the time when one asks. A tuple,
    because the data plane makes one per PUBLISH and hands it to SQLite as it is.
    """

    sequence: int
    device_id: str
    module_id: str | None
    enqueued: int
    properties: str
    system_properties: str
    body: bytes
    time_to_live: int = 0


def size_of(message: Message) -> int:
    """Return how large a message is to IoT Hub: its body and its properties."""
    return len(message.body) + len(message.properties) + len(message.system_properties)


def edge_message_id(message: Message) -> str:
    """Return a message's own id, by which whoever reads it twice knows: the same however often it is sent.

    It is made of what tells the message from others (a UUID by name, RFC 9562), where the product makes a random one
    (`edgeMessageId`: RoutingEdgeHub.cs, `AddEdgeSystemProperties`).
    """
    name = f"{message.sequence} {message.enqueued} {message.device_id} {message.module_id or ''}"
    return str(uuid5(_NAMESPACE, name))


class InputMessage(NamedTuple):
    """A message to a module's input: `properties` and `system_properties` (by their service names) as they are."""

    input: str
    body: bytes
    properties: Mapping[str, str]
    system_properties: Mapping[str, str]
