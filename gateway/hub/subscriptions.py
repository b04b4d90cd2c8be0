"""What a client has subscribed to, and what of it concerns the hub.

Rule: any filter is granted and kept; the product recognises a few of them as features and logs the others. A message
goes out only where a filter matches its topic, with the lesser of QoS 1 and the QoS granted.
Source: SessionStateParser.cs of Azure/iotedge; matching is section 4.7 of MQTT 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum


class Feature(Enum):
    """What a subscription switches on (DeviceSubscription.cs)."""

    C2D = "cloud-to-device messages"
    METHODS = "direct methods"
    DESIRED = "desired property updates"
    TWIN_RESPONSE = "twin answers"
    INPUTS = "module inputs"


_INPUTS = re.compile(r"devices/.+/modules/.+/#\Z")
TWIN_RESPONSES = "$iothub/twin/res/#"


def feature_of(topic_filter: str) -> Feature | None:
    """The feature a filter stands for; None for one that nothing is ever sent for."""
    if topic_filter.endswith("messages/devicebound/#"):
        return Feature.C2D
    if topic_filter.startswith("$iothub/methods/POST/"):
        return Feature.METHODS
    if topic_filter.startswith("$iothub/twin/PATCH/properties/desired/"):
        return Feature.DESIRED
    if topic_filter == TWIN_RESPONSES:
        return Feature.TWIN_RESPONSE
    return Feature.INPUTS if _INPUTS.match(topic_filter) else None


def granted_qos(filters: Mapping[str, int], topic: str) -> int | None:
    """The QoS that `topic` goes out with to who has these filters; None when none of them matches."""
    qos = None
    for topic_filter, granted in filters.items():
        if (qos is None or granted > qos) and matches(topic_filter, topic):
            qos = granted
    return qos


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic filter matches a topic name (MQTT 3.1.1, 4.7)."""
    if topic_filter.endswith("/#") and "+" not in topic_filter:  # nearly every filter a device has
        return topic.startswith(topic_filter[:-1]) or topic == topic_filter[:-2]
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):  # 4.7.2
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index == len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
