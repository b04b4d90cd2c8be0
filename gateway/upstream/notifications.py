"""Messages that IoT Hub itself makes: a twin has changed, an identity was created or deleted, a client came or went.

Rule: nothing here changes anything; it tells what has happened, in the order in which it happened.
Sources: IoT Hub documentation, "Azure IoT Hub non-telemetry event schemas" (properties, bodies and their examples). The
body of an update has the change alone, without `$metadata` and `$version`.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.hub.messages import Message
from gateway.upstream.arrivals import CONNECTION_STATE, LIFECYCLE, TWIN_CHANGES
from gateway.upstream.device import Device
from gateway.upstream.registry import iot_hub_time
from gateway.upstream.twin import Name
from gateway.upstream.twins import Twins

_SCHEMAS = {
    TWIN_CHANGES: "twinChangeNotification",
    LIFECYCLE: "deviceLifecycleNotification",
    CONNECTION_STATE: "deviceConnectionStateNotification",
}
_SYSTEM = {"content-type": "application/json", "content-encoding": "utf-8"}
_SINCE_1601 = 11_644_473_600  # seconds from where Windows counts to where Unix does

#: takes a message of a source
Deliver = Callable[[str, Message], None]


class Notifications:
    """Makes the messages of the sources in `wanted`; `hub_name` is IoT Hub's, without its domain."""

    def __init__(
        self,
        deliver: Deliver,
        twins: Twins,
        *,
        hub_name: Callable[[], str],
        now: Callable[[], float],
        wanted: Collection[str],
    ) -> None:
        self._deliver = deliver
        self._twins = twins
        self._hub_name = hub_name
        self._now = now
        self._wanted = frozenset(wanted)
        self._connections: Counter[str] = Counter()
        self._told = 0  # connection state events have a number that only grows

    def twin_changed(self, client_id: str, anew: bool, patches: Mapping[Name, Any]) -> None:
        """A twin was changed by merging in `patches`; with `anew` it was replaced."""
        if TWIN_CHANGES not in self._wanted:
            return
        if anew:
            self._tell(TWIN_CHANGES, client_id, "replaceTwin", self._twins.document(client_id))
            return
        body: dict[str, Any] = {"version": self._twins.get(client_id).version}
        if "tags" in patches:
            body["tags"] = patches["tags"]
        properties = {name: patch for name, patch in patches.items() if name != "tags"}
        if properties:
            body["properties"] = properties
        self._tell(TWIN_CHANGES, client_id, "updateTwin", body)

    def registry_changed(self, created: bool, device: Device) -> None:
        """A device or module was created or deleted."""
        if LIFECYCLE in self._wanted:
            operation = "createDeviceIdentity" if created else "deleteDeviceIdentity"
            self._tell(LIFECYCLE, device.client_id, operation, self._twins.document(device.client_id))

    def connection_changed(self, client_id: str, connected: bool) -> None:
        """A client has connected, or a connection of it is over; one that takes over from another changes nothing."""
        self._connections[client_id] += 1 if connected else -1
        count = self._connections[client_id]
        if count <= 0:
            del self._connections[client_id]
        if CONNECTION_STATE in self._wanted and count == (1 if connected else 0):
            operation = "deviceConnected" if connected else "deviceDisconnected"
            self._tell(CONNECTION_STATE, client_id, operation, {"sequenceNumber": self._next_number()})

    def _next_number(self) -> str:
        """64 hex digits; the later event has the higher ones."""
        ticks = int((self._now() + _SINCE_1601) * 10_000_000)
        self._told = max(self._told + 1, ticks << 128)
        return f"{self._told:064X}"

    def _tell(self, source: str, client_id: str, operation: str, body: Mapping[str, Any]) -> None:
        now = self._now()
        device_id, slash, module_id = client_id.partition("/")
        properties = {
            "hubName": self._hub_name(),
            "deviceId": device_id,
            **({"moduleId": module_id} if slash else {}),
            "operationTimestamp": iot_hub_time(now),
            "iothub-message-schema": _SCHEMAS[source],
            "opType": operation,
        }
        system = {**_SYSTEM, "correlation-id": str(uuid.uuid4()), "user-id": self._hub_name()}
        message = Message(
            0, device_id, module_id if slash else None, int(now * 1000), _json(properties), _json(system),
            _json(body).encode(),
        )  # fmt: skip
        self._deliver(source, message)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
