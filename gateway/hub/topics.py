"""What a topic that a client publishes to means.

Rule: this module only READS topics; the leaf simulator builds them from its own reading of the protocol, so that each
checks the other.
Sources: topic templates of appsettings_hub.json, MessageAddressConverter.cs and MessagingServiceClient.cs in
Azure/iotedge: variables match one segment, templates are anchored at the end only, a trailing slash is optional.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import unquote

_MODULE_EVENTS = re.compile(r"devices/([^/]*)/modules/([^/]*)/messages/events(?:/([^/]*))?/?\Z")
_DEVICE_EVENTS = re.compile(r"devices/([^/]*)/messages/events(?:/([^/]*))?/?\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

#: system properties as they travel in a property bag, and their names on the service side
SYSTEM_PROPERTIES = {
    "$.exp": "absolute-expiry-time",
    "$.cid": "correlation-id",
    "$.mid": "message-id",
    "$.to": "to",
    "$.uid": "user-id",
    "$.on": "output-name",
    "$.ct": "content-type",
    "$.ce": "content-encoding",
    "$.schema": "iothub-message-schema",
    "$.ctime": "iothub-creation-time-utc",
    "$.ifid": "iothub-interface-id",
    "$.sub": "dt-subject",
    "ack": "iothub-ack",
    "iothub-ack": "iothub-ack",
    "iothub-operation": "iothub-operation",
}


_TWIN = "$iothub/twin/"
_TWIN_GET = "$iothub/twin/GET/"
_TWIN_REPORTED = "$iothub/twin/PATCH/properties/reported/"
_METHOD_RESPONSE = re.compile(r"\$iothub/methods/res/([^/]*)/\?\$rid=([^/]*)/?\Z")


class TopicError(ValueError):
    """The topic means nothing to the gateway; the product acknowledges the message, warns and drops it."""


class TwinTopicError(ValueError):
    """A topic below $iothub/twin/ that asks for nothing there is; the product closes the connection."""


class Telemetry(NamedTuple):
    """Where a telemetry message comes from and what its property bag says, ready to be stored."""

    device_id: str
    module_id: str | None
    properties: str
    system_properties: str


class TwinGet(NamedTuple):
    """A device asks for its twin."""

    request_id: str


class ReportedPatch(NamedTuple):
    """A device changes its reported properties; with an empty request id it wants no answer."""

    request_id: str


class MethodResponse(NamedTuple):
    """A device answers a direct method; `status` as it was sent, which may be no number."""

    request_id: str
    status: str


Request = TwinGet | ReportedPatch | MethodResponse


def parse_request(topic: str) -> Request:
    """Read a topic below `$iothub/`.

    Raises TwinTopicError for what is no twin request there is, TopicError for anything else that means nothing.
    Sources: TwinAddressHelper.cs and MessagingServiceClient.cs of Azure/iotedge.
    """
    if topic.startswith(_TWIN_GET):
        request_id = _request_id(topic, len(_TWIN_GET))
        if not request_id:
            raise TwinTopicError("Correlation id is missing or empty.")
        return TwinGet(request_id)
    if topic.startswith(_TWIN_REPORTED):
        return ReportedPatch(_request_id(topic, len(_TWIN_REPORTED)))
    if topic.startswith(_TWIN):
        raise TwinTopicError("Failed to parse operation from message address.")
    if match := _METHOD_RESPONSE.search(topic):
        return MethodResponse(match[2], match[1])
    raise _no_match(topic)


def _request_id(topic: str, start: int) -> str:
    """The value of `$rid` in the property bag that follows; empty when there is none."""
    if start == len(topic):
        return ""
    if topic[start] != "?":
        raise TwinTopicError(f"Further resource specialization is not supported: `{topic[start:]}`.")
    values: dict[str, str] = {}
    for pair in topic[start + 1 :].split("&"):
        name, _, value = pair.partition("=")
        if name in values:
            raise TwinTopicError(f"{name} is given twice.")
        values[name] = value
    return values.get("$rid", "")


def parse_telemetry(topic: str) -> Telemetry:
    """Read `devices/{d}[/modules/{m}]/messages/events/{property bag}`; raises TopicError with what is wrong."""
    if match := _MODULE_EVENTS.search(topic):
        device_id, module_id, bag = match.groups()
    elif match := _DEVICE_EVENTS.search(topic):
        (device_id, bag), module_id = match.groups(), None
    else:
        raise _no_match(topic)
    properties, system = parse_property_bag(bag or "")
    return Telemetry(device_id, module_id, _json(properties), _json(system))


def parse_property_bag(bag: str) -> tuple[dict[str, str | None], dict[str, str]]:
    """Split `key=value&...` into application and system properties (the latter under their service names).

    `%XX` is decoded, `+` is not; a leading `?` is dropped; a key alone has no value (None); the last of a repeated key
    wins. A stray `=` or `&`, or a broken escape, spoils the whole bag: TopicError.
    """
    properties: dict[str, str | None] = {}
    system: dict[str, str] = {}
    text = bag.removeprefix("?")
    for pair in text.split("&") if text else ():
        name, value = _pair(pair)
        if name in SYSTEM_PROPERTIES:
            system[SYSTEM_PROPERTIES[name]] = value or ""
        else:
            properties[name] = value
    return properties, system


def _no_match(topic: str) -> TopicError:
    return TopicError(f"Message address {topic} does not match any topic.")


def _pair(pair: str) -> tuple[str, str | None]:
    key, equals, value = pair.partition("=")
    if not key or "=" in value:
        raise TopicError(f"the property bag has a stray '=' or '&' near {pair!r}")
    if _BAD_ESCAPE.search(pair):
        raise TopicError(f"the property bag has a broken %-escape in {pair!r}")
    try:
        return unquote(key, errors="strict"), unquote(value, errors="strict") if equals else None
    except UnicodeDecodeError:
        raise TopicError(f"the property bag is no UTF-8 in {pair!r}") from None


def _json(properties: dict[str, str | None] | dict[str, str]) -> str:
    return json.dumps(properties, separators=(",", ":"), ensure_ascii=False) if properties else "{}"
