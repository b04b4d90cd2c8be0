"""Messages as they arrive at IoT Hub, and as a back end reads them.

Rule: a message is turned into its public form when somebody looks, and not before: the data plane hands in thousands
a second that nobody ever reads.
Sources: IoT Hub documentation, "Create and read IoT Hub messages" (system properties of device-to-cloud messages) and
"IoT Hub non-telemetry event schemas" (annotations).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.hub.messages import Message
from gateway.hub.service_identity import Authentication
from gateway.upstream.device import Device

TELEMETRY = "Telemetry"
TWIN_CHANGES = "twinChangeEvents"
LIFECYCLE = "deviceLifecycleEvents"
CONNECTION_STATE = "deviceConnectionStateEvents"
#: IoT Hub's words for where a message comes from (`iothub-message-source`)
SOURCES = (TELEMETRY, TWIN_CHANGES, LIFECYCLE, CONNECTION_STATE)

Client = tuple[str, str | None]

_METHODS = {
    (kind, is_device): f'{{"scope":"{scope}","type":"{kind}","issuer":"{issuer}"}}'
    for kind, issuer in (("sas", "iothub"), ("x509", "external"))
    for is_device, scope in ((True, "device"), (False, "module"))
}


class Origin(NamedTuple):
    """What IoT Hub knew of a sender when its message arrived."""

    generation_id: str
    auth_method: str


#: the senders of a batch; those that are not registered are not in it
Origins = Mapping[Client, Origin]


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message as a back end reads it.

    `sequence` is IoT Hub's own number for it, `enqueued_time` when it arrived there; `gateway_sequence` is the number
    under which the gateway had stored it, the same when it arrives twice, and `gateway_time` when the gateway took it:
    None for what IoT Hub itself has made. `annotations` are what IoT Hub adds (`iothub-connection-device-id`, ...).
    """

    sequence: int
    device_id: str
    module_id: str | None
    enqueued_time: datetime
    properties: Mapping[str, str | None]
    system_properties: Mapping[str, str]
    body: bytes
    source: str = TELEMETRY
    annotations: Mapping[str, str | int] = field(default_factory=dict)
    gateway_sequence: int | None = None
    gateway_time: datetime | None = None

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Batch:
    """Messages of one source that arrived together, `at` milliseconds since 1970 UTC, numbered on from `first`."""

    __slots__ = ("at", "first", "messages", "origins", "source")

    def __init__(self, first: int, at: int, source: str, origins: Origins, messages: Sequence[Message]) -> None:
        self.first = first
        self.at = at
        self.source = source
        self.origins = origins
        self.messages = messages

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Delivered]:
        return map(self.delivered, range(len(self.messages)))

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.first + len(self.messages) - 1

    def part(self, start: int, end: int | None = None) -> Batch:
        """The messages from the one at `start` (counted from 0) up to and without the one at `end`."""
        return Batch(self.first + start, self.at, self.source, self.origins, self.messages[start:end])

    def delivered(self, index: int) -> Delivered:
        """The message at `index`, counted from 0, in its public form."""
        message, number = self.messages[index], self.first + index
        own = self.source != TELEMETRY
        return Delivered(
            sequence=number,
            device_id=message.device_id,
            module_id=message.module_id,
            enqueued_time=_moment(self.at),
            properties=json.loads(message.properties),
            system_properties=json.loads(message.system_properties),
            body=message.body,
            source=self.source,
            annotations=self._annotations(message, number),
            gateway_sequence=None if own else message.sequence,
            gateway_time=None if own else _moment(message.enqueued),
        )

    def _annotations(self, message: Message, number: int) -> dict[str, str | int]:
        known: dict[str, str | int] = {"iothub-connection-device-id": message.device_id}
        if message.module_id is not None:
            known["iothub-connection-module-id"] = message.module_id
        origin = self.origins.get((message.device_id, message.module_id))
        if origin is not None:
            known["iothub-connection-auth-method"] = origin.auth_method
            known["iothub-connection-auth-generation-id"] = origin.generation_id
        return known | {
            "iothub-enqueuedtime": self.at,
            "iothub-message-source": self.source,
            "x-opt-sequence-number": number,
            "x-opt-offset": str(number),
            "x-opt-enqueued-time": self.at,
        }


def size_of(message: Message) -> int:
    """How many bytes a message counts for."""
    return len(message.body) + len(message.properties) + len(message.system_properties)


def origin_of(device: Device) -> Origin:
    """What IoT Hub writes to the messages of a device or module."""
    kind = "sas" if device.authentication == Authentication.SAS else "x509"
    return Origin(device.generation_id, _METHODS[kind, device.module_id is None])


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
