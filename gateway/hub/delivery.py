"""Topics of what the hub sends to clients.

Rule: this module only BUILDS topics for what goes down; what comes up is read in `topics`.
Sources: the outbound templates of appsettings_hub.json, MessageAddressConverter.cs and TwinAddressHelper.cs of
Azure/iotedge.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from gateway.hub.topics import SYSTEM_PROPERTIES

#: service names of system properties, and how they travel in a property bag
_SHORT = {name: short for short, name in SYSTEM_PROPERTIES.items() if short.startswith("$.")}
_SHORT |= {"connection-device-id": "$.cdid", "connection-module-id": "$.cmid"}


def c2d_topic(device_id: str, properties: Mapping[str, str], system_properties: Mapping[str, str]) -> str:
    """Where a cloud-to-device message goes."""
    return f"devices/{device_id}/messages/devicebound/{_bag(properties, system_properties)}"


def input_topic(
    device_id: str, module_id: str, name: str, properties: Mapping[str, str], system_properties: Mapping[str, str]
) -> str:
    """Where a message for a module's input goes."""
    return f"devices/{device_id}/modules/{module_id}/inputs/{name}/{_bag(properties, system_properties)}"


def twin_response_topic(status: int, request_id: str, version: int | None = None) -> str:
    """Where the answer to a twin request goes."""
    suffix = "" if version is None else f"&$version={version}"
    return f"$iothub/twin/res/{status}/?$rid={request_id}{suffix}"


def desired_topic(version: int) -> str:
    """Where a change of desired properties goes."""
    return f"$iothub/twin/PATCH/properties/desired/?$version={version}"


def method_topic(name: str, request_id: str) -> str:
    """Where the call of a direct method goes."""
    return f"$iothub/methods/POST/{name}/?$rid={request_id}"


def _bag(properties: Mapping[str, str], system_properties: Mapping[str, str]) -> str:
    pairs = [(_SHORT.get(name, name), value) for name, value in system_properties.items()]
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in [*pairs, *properties.items()])
