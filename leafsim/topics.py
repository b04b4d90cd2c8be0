"""Builds the topics that a leaf publishes and subscribes to, as the Azure device SDKs do.

Rule: this module only BUILDS topics; the gateway reads them with its own code, so that each checks the other.
Ids are not encoded in topics, properties are percent-encoded with nothing left safe: `$.mid` travels as `%24.mid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

TWIN_DESIRED = "$iothub/twin/PATCH/properties/desired/#"
TWIN_RESPONSES = "$iothub/twin/res/#"
METHODS = "$iothub/methods/POST/#"


def base(device_id: str, module_id: str | None = None) -> str:
    """Return what an identity's own topics begin with."""
    return f"devices/{device_id}" if module_id is None else f"devices/{device_id}/modules/{module_id}"


def telemetry(
    device_id: str,
    module_id: str | None = None,
    *,
    message_id: str | None = None,
    content_type: str | None = None,
    content_encoding: str | None = None,
    properties: Mapping[str, str | None] | None = None,
) -> str:
    """Return the topic of one telemetry message: system properties first, then the others sorted by name."""
    system = (("$.mid", message_id), ("$.ct", content_type), ("$.ce", content_encoding))
    pairs = [(name, value) for name, value in system if value is not None]
    bag = "&".join(_pair(name, value) for name, value in [*pairs, *sorted((properties or {}).items())])
    return f"{base(device_id, module_id)}/messages/events/{bag}"


def _pair(name: str, value: str | None) -> str:
    encoded = quote(str(name), safe="")
    return encoded if value is None else f"{encoded}={quote(str(value), safe='')}"


def cloud_to_device(device_id: str) -> str:
    """Return the subscription for cloud-to-device messages."""
    return f"{base(device_id)}/messages/devicebound/#"


def module_inputs(device_id: str, module_id: str) -> str:
    """Return the subscription for messages routed to a module's inputs."""
    return f"{base(device_id, module_id)}/inputs/#"


def twin_request(request_id: str) -> str:
    """Return where an identity asks for its twin."""
    return f"$iothub/twin/GET/?$rid={request_id}"


def method_answer(status: int, request_id: str) -> str:
    """Return where an identity answers a direct method."""
    return f"$iothub/methods/res/{status}/?$rid={request_id}"


def everything(device_id: str, module_id: str | None = None) -> tuple[str, ...]:
    """Return every subscription that brings something to this identity."""
    own = cloud_to_device(device_id) if module_id is None else module_inputs(device_id, module_id)
    return (own, TWIN_DESIRED, METHODS)
