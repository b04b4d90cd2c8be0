"""What arrives at a leaf, in words: cloud-to-device messages, desired properties, method calls, module inputs."""

from __future__ import annotations

import base64
import json
import queue
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from leafsim import topics
from leafsim.device import Device
from leafsim.errors import Disconnected
from leafsim.session import Received

# What a topic begins with or contains, and what it is then.
_KINDS = (
    ("$iothub/twin/PATCH/properties/desired/", "desired"),
    ("$iothub/methods/POST/", "method"),
    ("$iothub/twin/res/", "twin"),
    ("/messages/devicebound/", "c2d"),
    ("/inputs/", "input"),
)


class Arrivals:
    """Collects what arrives at a device, and says when nothing more will come."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Received | str] = queue.SimpleQueue()
        #: what Device takes to report here
        self.listeners: dict[str, Any] = {"on_message": self._queue.put, "on_disconnect": self._queue.put}

    def subscribe(self, device: Device, timeout: float) -> None:
        """Ask for everything that concerns the device."""
        device.subscribe(*topics.everything(device.connection.device_id, device.connection.module_id), timeout=timeout)

    def messages(self, count: int | None = None) -> Iterator[Received]:
        """Yield what arrives, at most `count` messages; raises Disconnected when the connection ends."""
        while count is None or count > 0:
            item = self._queue.get()
            if isinstance(item, str):
                raise Disconnected(item)
            yield item
            count = None if count is None else count - 1


def kind(topic: str) -> str:
    """Return what a topic brings: "c2d", "desired", "method", "input", "twin", or "other"."""
    return next((word for mark, word in _KINDS if mark in topic), "other")


def detail(topic: str) -> str:
    """Return the last part of a topic, decoded: the property bag, or the method's name and request id."""
    marks = [mark for mark, _ in _KINDS if mark in topic]
    return unquote(topic.partition(marks[0])[2] if marks else topic)


def describe(message: Received) -> str:
    """Return one line for people."""
    body = message.body.decode("utf-8", "backslashreplace")
    return _printable(f"{kind(message.topic):8} {detail(message.topic)}  {body}".rstrip())


def _printable(text: str) -> str:
    """Spell out what would move the cursor or change colours: the text comes from elsewhere."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def to_json(message: Received) -> dict[str, Any]:
    """Return one object for programs; a body that is no JSON is given as text, or base64 when it is no UTF-8."""
    found: dict[str, Any] = {"kind": kind(message.topic), "topic": message.topic, "qos": message.qos}
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        return {**found, "base64": base64.b64encode(message.body).decode()}
    try:
        return {**found, "body": json.loads(text)}
    except ValueError:
        return {**found, "text": text}
