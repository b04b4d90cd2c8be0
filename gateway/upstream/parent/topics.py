"""Topics between this gateway and the one above, as a device has them: built for what goes up, read for what comes.

Sources: IoT Hub documentation, "Communicate with an IoT hub using the MQTT protocol"; what Edge Hub itself sends down
is built in gateway.hub.delivery and what it takes is read in gateway.hub.topics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from gateway.hub.delivery import property_bag
from gateway.hub.messages import Message
from gateway.hub.subscriptions import Feature

TWIN_ANSWERS = "$iothub/twin/res/#"
_TWIN_ANSWER = re.compile(r"\$iothub/twin/res/(\d{1,9})/\?\$rid=([^&]*)(?:&\$version=(\d{1,18}))?\Z")
_DESIRED = re.compile(r"\$iothub/twin/PATCH/properties/desired/\?\$version=(\d{1,18})\Z")
_METHOD = re.compile(r"\$iothub/methods/POST/([^/]+)/\?\$rid=([^/&]*)\Z")
_COMMAND = re.compile(r"devices/[^/]+/messages/devicebound(?:/([^/]*))?/?\Z")


class TwinAnswer(NamedTuple):
    """An answer to a twin request; `version` is 0 when it is not told."""

    status: int
    request_id: str
    version: int


class Desired(NamedTuple):
    """A change of desired properties."""

    version: int


class Method(NamedTuple):
    """A call of a direct method."""

    name: str
    request_id: str


class C2D(NamedTuple):
    """A cloud-to-device message."""

    bag: str


def read(topic: str) -> TwinAnswer | Desired | Method | C2D | None:
    """What a message from above is; None when it is nothing that was subscribed to."""
    if match := _TWIN_ANSWER.match(topic):
        return TwinAnswer(int(match[1]), match[2], int(match[3] or 0))
    if match := _DESIRED.match(topic):
        return Desired(int(match[1]))
    if match := _METHOD.match(topic):
        return Method(match[1], match[2])
    if match := _COMMAND.match(topic):
        return C2D(match[1] or "")
    return None


def filters(device_id: str, feature: Feature) -> tuple[str, int] | None:
    """What to subscribe to for a feature, and with which QoS; None for what does not come from above.

    Only cloud-to-device messages are acknowledged: the gateway above numbers every message 1 and takes acknowledgements
    in the order it has sent, whatever they are for.
    """
    match feature:
        case Feature.DESIRED:
            return "$iothub/twin/PATCH/properties/desired/#", 0
        case Feature.METHODS:
            return "$iothub/methods/POST/#", 0
        case Feature.C2D:
            return f"devices/{device_id}/messages/devicebound/#", 1
    return None


def telemetry(message: Message) -> str:
    """Where a message goes: in the name of the device or module that has sent it."""
    properties: Mapping[str, str | None] = json.loads(message.properties)
    bag = property_bag({name: value or "" for name, value in properties.items()}, json.loads(message.system_properties))
    module = "" if message.module_id is None else f"/modules/{message.module_id}"
    return f"devices/{message.device_id}{module}/messages/events/{bag}"


def twin_get(request_id: str) -> str:
    """Where the question for a twin goes."""
    return f"$iothub/twin/GET/?$rid={request_id}"


def twin_report(request_id: str) -> str:
    """Where a change of reported properties goes."""
    return f"$iothub/twin/PATCH/properties/reported/?$rid={request_id}"


def method_answer(status: int, request_id: str) -> str:
    """Where the answer to a direct method goes."""
    return f"$iothub/methods/res/{status}/?$rid={request_id}"


def username(hub: str, client_id: str, chain: str | None, model_id: str | None = None) -> str:
    """The CONNECT user name of who speaks for `client_id`, with the auth-chain last as the .NET SDK has it."""
    model = "" if model_id is None else f"&model-id={quote(model_id, safe='')}"
    spoken = "" if chain is None else f"&auth-chain={quote(chain, safe='')}"
    return f"{hub}/{client_id}/?api-version=2021-04-12&DeviceClientType=leafgate{model}{spoken}"
