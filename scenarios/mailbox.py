"""What comes for a leaf that listens: kept for who waits for it; methods are answered, a twin is asked for.

Rule: messages come on the connection's thread, and are waited for on another one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from leafsim import Device, Received
from leafsim.topics import TWIN_RESPONSES, everything, method_answer, twin_request

_TWIN = "$iothub/twin/res/"
_METHOD = "$iothub/methods/POST/"


class Mailbox:
    """The messages of one leaf, oldest first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._got: list[Received] = []
        self._device: Device | None = None

    def open(self, device: Device, timeout: float) -> dict[str, Any] | None:
        """Subscribe to everything there is for a device, and ask for its twin; None when it does not come."""
        self._device = device
        connection = device.connection
        device.subscribe(TWIN_RESPONSES, *everything(connection.device_id, connection.module_id), timeout=timeout)
        with self._changed:
            before = len(self._got)
        device.publish(twin_request(str(before)), b"")
        wanted = f"?$rid={before}"

        def is_answer(topic: str, _: bytes) -> bool:
            return topic.startswith(_TWIN) and topic.endswith(wanted)

        answers = self._wait(is_answer, before, 1, timeout)
        if not answers:
            return None
        twin: dict[str, Any] = json.loads(answers[0].body)
        return twin

    def take(self, message: Received) -> None:
        """Something has come."""
        if message.topic.startswith(_METHOD) and self._device is not None:
            self._device.publish(method_answer(200, message.topic.rpartition("=")[2]), b"{}")
        with self._changed:
            self._got.append(message)
            self._changed.notify_all()

    def wait(self, fits: Callable[[str, bytes], bool], count: int, timeout: float) -> list[str]:
        """What fits of everything that came, once there are `count` of it or time is up, as text."""
        found = self._wait(fits, 0, max(count, 1), timeout if count else 0.5)
        return [one.body.decode("utf-8", "backslashreplace") for one in found]

    def _wait(self, fits: Callable[[str, bytes], bool], since: int, count: int, timeout: float) -> list[Received]:
        def those() -> list[Received]:
            return [one for one in self._got[since:] if fits(one.topic, one.body)]

        with self._changed:
            self._changed.wait_for(lambda: len(those()) >= count, timeout)
            return those()
