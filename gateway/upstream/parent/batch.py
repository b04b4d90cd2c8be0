"""Messages that go up together, each on the connection of its own device.

Rule: a batch is settled once: when each message has been acknowledged or has failed, or when its time is up; a line
without an answer by then is taken for dead. What has failed is told back in the order it came.
Sources: CloudEndpoint.cs of Azure/iotedge (30 seconds for a send), CloudConnectionHangingTimeoutSecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.hub.messages import Message
from gateway.upstream.parent import topics
from gateway.upstream.parent.leg import Leg
from gateway.upstream.parent.line import Line

SEND_TIMEOUT = 30.0


class Batch:
    """One batch; it is in the list `under_way` until it is settled."""

    def __init__(
        self,
        messages: Sequence[Message],
        now: float,
        done: Callable[[Sequence[Message]], None],
        under_way: list[Batch],
    ) -> None:
        self.until = now + SEND_TIMEOUT
        self._messages = messages
        self._open = set(range(len(messages)))
        self._legs: dict[int, Leg] = {}
        self._failed: set[int] = set()
        self._done = done
        self._under_way = under_way
        under_way.append(self)

    def send(self, number: int, message: Message, leg: Leg) -> None:
        """Send one of the messages."""

        def acknowledged(arrived: bool) -> None:
            self._settle(number, arrived)

        def publish(line: Line | None) -> None:
            if line is None:
                acknowledged(False)
            else:
                line.publish(topics.telemetry(message), message.body, acknowledged)

        self._legs[number] = leg
        leg.use(publish)

    def give_up(self) -> None:
        """Time is up: what has no acknowledgement has failed, and where it went hangs."""
        hanging = {self._legs[number] for number in self._open}
        for leg in hanging:
            leg.break_off(f"no acknowledgement within {SEND_TIMEOUT:g} seconds")
        for number in tuple(self._open):
            self._settle(number, False)

    def _settle(self, number: int, arrived: bool) -> None:
        if number not in self._open:
            return
        self._open.discard(number)
        if not arrived:
            self._failed.add(number)
        if not self._open:
            self._under_way.remove(self)
            self._done([self._messages[each] for each in sorted(self._failed)])
