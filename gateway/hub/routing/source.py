"""Where a message comes from, and what its system properties are called, as routes see both.

Rules: a source is a path that ends with a slash; a route takes what begins with its own, whatever the case. A change of
reported properties is a message of the hub's own module, with the client that made it as its sender.
Sources: BaseMessageSource.cs, ModuleMessageSource.cs and MessageSourceExtensions.cs with MessageSourceTest.cs,
RoutingMessageConverter.cs, DeviceMessageHandler.cs (`UpdateReportedPropertiesAsync`), RoutingEdgeHub.cs
(`AddEdgeSystemProperties`) and SystemProperties.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.hub.topics import Telemetry

HUB_MODULE = "$edgeHub"
SENDER_DEVICE = "rpSenderDeviceId"
SENDER_MODULE = "rpSenderModuleId"
TWIN_CHANGES = "/twinchangenotifications/"
_TELEMETRY = "/messages/"
_TWIN_CHANGE = "twinChangeNotification"

#: names of system properties on the service's side, and what conditions call them ($name); others are called alike
_IN_CONDITIONS = {
    "message-id": "messageId",
    "correlation-id": "cid",
    "user-id": "userId",
    "output-name": "outputName",
    "content-type": "contentType",
    "content-encoding": "contentEncoding",
    "iothub-message-schema": "messageSchema",
    "iothub-creation-time-utc": "creationTime",
    "iothub-ack": "ack",
    "iothub-operation": "operation",
    "message-type": "messageType",
}


def telemetry_source(module_id: str | None, output: str | None) -> str:
    """Where a message comes from: a leaf's telemetry from /messages/events, a module's from its output."""
    if module_id is None:
        return "/messages/events/"
    path = f"/messages/modules/{module_id}/"
    return (f"{path}outputs/{output}/" if output else path).lower()


def is_telemetry(source: str) -> bool:
    """Tell whether messages from a source count when no route takes them."""
    return source.startswith(_TELEMETRY)


def source_of(telemetry: Telemetry, system: Mapping[str, str | None]) -> str:
    """Return the source of a message with these system properties, by their names on the service's side."""
    if telemetry.module_id == HUB_MODULE and system.get("message-type") == _TWIN_CHANGE:
        return TWIN_CHANGES
    return telemetry_source(telemetry.module_id, system.get("output-name"))


def in_conditions(telemetry: Telemetry, system: Mapping[str, str | None], edge_device_id: str) -> dict[str, str | None]:
    """Return a message's system properties under the names that conditions have for them."""
    seen = {_IN_CONDITIONS.get(name, name): value for name, value in system.items()}
    seen["connectionDeviceId"] = telemetry.device_id
    if telemetry.module_id is not None:
        seen["connectionModuleId"] = telemetry.module_id
    seen["edgeHubOriginInterface"] = "internal" if telemetry.device_id == edge_device_id else "downstream"
    return seen


def twin_change(edge_device_id: str, device_id: str, module_id: str | None) -> Telemetry:
    """Return the message that tells of a client's change of its reported properties; its body is the change.

    It has no content type, so that conditions about its body are undefined, `twin_change_includes` among them.
    """
    system = {"iothub-message-schema": _TWIN_CHANGE, "message-type": _TWIN_CHANGE, SENDER_DEVICE: device_id}
    if module_id is not None:
        system[SENDER_MODULE] = module_id
    return Telemetry(edge_device_id, HUB_MODULE, "{}", json.dumps(system, separators=(",", ":"), ensure_ascii=False))
