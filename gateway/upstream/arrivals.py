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
from typing import Any, NamedTuple, Protocol

from gateway.hub.messages import Message
from gateway.hub.service_identity import Authentication

TELEMETRY = "Telemetry"
TWIN_CHANGES = "twinChangeEvents"
LIFECYCLE = "deviceLifecycleEvents"
CONNECTION_STATE = "deviceConnectionStateEvents"
#: IoT Hub's words for where a message comes from (`iothub-message-source`)
SOURCES = (TELEMETRY, TWIN_CHANGES, LIFECYCLE, CONNECTION_STATE)

Client = tuple[str, str | None]


class Sender(Protocol):
    """What IoT Hub knew of a sender when its message arrived; a registered device is one."""

    @property
    def generation_id(self) -> str:
        """Tells it from an earlier one of the same name."""

    @property
    def authentication(self) -> str:
        """How it proves who it is, in the words of gateway.hub.service_identity."""


class Origin(NamedTuple):
    """The same, by itself."""

    generation_id: str
    authentication: str


#: the senders of a batch; those that are not registered are not in it
Origins = Mapping[Client, Sender]


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

    __slots__ = ("_size", "at", "first", "messages", "origins", "source")

    def __init__(self, first: int, at: int, source: str, origins: Origins, messages: Sequence[Message]) -> None:
        self.first = first
        self.at = at
        self.source = source
        self.origins = origins
        self.messages = messages
        self._size = -1

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Delivered]:
        return map(self.delivered, range(len(self.messages)))

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.first + len(self.messages) - 1

    @property
    def size(self) -> int:
        """How many bytes the messages count for."""
        if self._size < 0:
            self._size = sum(map(size_of, self.messages))
        return self._size

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
            known["iothub-connection-auth-method"] = _auth_method(origin, message.module_id)
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


def _auth_method(sender: Sender, module_id: str | None) -> str:
    sas = sender.authentication == Authentication.SAS
    method = {
        "scope": "device" if module_id is None else "module",
        "type": "sas" if sas else "x509",
        "issuer": "iothub" if sas else "external",
    }
    return json.dumps(method, separators=(",", ":"))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
