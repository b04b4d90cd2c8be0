"""Topics of what the hub sends to clients.

Rule: this module only BUILDS topics for what goes down; what comes up is read in `topics`. Ids, names of methods and
inputs, and request ids go into a topic as they are; a property bag is percent-encoded and nothing in it is left out:
each property has its '='.
Sources: the outbound templates of appsettings_hub.json, MessageAddressConverter.cs, TwinAddressHelper.cs,
ProtocolGatewayMessageConverter.cs (order) and SystemProperties.cs (`OutgoingSystemPropertiesMap`) of Azure/iotedge;
UrlEncodedDictionarySerializer.cs of Azure/azure-iot-sdk-csharp.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

#: service names of system properties, and how they travel in a property bag; others do not travel, not even `$.on`
OUTGOING = {
    "absolute-expiry-time": "$.exp",
    "correlation-id": "$.cid",
    "message-id": "$.mid",
    "to": "$.to",
    "user-id": "$.uid",
    "iothub-ack": "iothub-ack",  # arrives from the cloud as an application property, so by its long name
    "content-type": "$.ct",
    "content-encoding": "$.ce",
    "iothub-message-schema": "$.schema",
    "iothub-operation": "iothub-operation",
    "iothub-creation-time-utc": "$.ctime",
    "connection-device-id": "$.cdid",
    "connection-module-id": "$.cmid",
    "dt-subject": "$.sub",
}
_AS_IT_IS = re.compile(r"[A-Za-z0-9_.~-]*\Z")  # what Uri.EscapeDataString leaves alone (RFC 3986, unreserved)


def c2d_topic(device_id: str, properties: Mapping[str, str], system_properties: Mapping[str, str]) -> str:
    """Where a cloud-to-device message goes."""
    return f"devices/{device_id}/messages/devicebound/{property_bag(properties, system_properties)}"


def input_topic(
    device_id: str, module_id: str, name: str, properties: Mapping[str, str], system_properties: Mapping[str, str]
) -> str:
    """Where a message for a module's input goes."""
    return f"devices/{device_id}/modules/{module_id}/inputs/{name}/{property_bag(properties, system_properties)}"


def twin_response_topic(status: int, request_id: str, version: int | None = None) -> str:
    """Where the answer to a twin request goes; Edge Hub never gives a version, IoT Hub does after a change."""
    suffix = "" if version is None else f"&$version={version}"
    return f"$iothub/twin/res/{status}/?$rid={request_id}{suffix}"


def desired_topic(version: int) -> str:
    """Where a change of desired properties goes."""
    return f"$iothub/twin/PATCH/properties/desired/?$version={version}"


def method_topic(name: str, request_id: str) -> str:
    """Where the call of a direct method goes."""
    return f"$iothub/methods/POST/{name}/?$rid={request_id}"


def property_bag(properties: Mapping[str, str], system_properties: Mapping[str, str]) -> str:
    """Application properties, then system properties that are not empty; a system property wins over its namesake."""
    pairs = dict(properties)
    for name, value in system_properties.items():
        if value and name in OUTGOING:
            pairs[OUTGOING[name]] = value
    return "&".join([f"{_escaped(name)}={_escaped(value)}" for name, value in pairs.items()])


def _escaped(text: str) -> str:
    return text if _AS_IT_IS.match(text) else quote(text, safe="")
