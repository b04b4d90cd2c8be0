"""Direct methods on their way over the link: to the gateway, and the answer back.

Rule: each call is answered exactly once. One for a device that has no connection waits as long as its caller allows; an
answer that cannot come back is none.
Source: IoT Hub documentation, "Understand and invoke direct methods from IoT Hub".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gateway.clock import Clock
from gateway.hub.cloud import CloudError, Failure
from gateway.hub.methods import MethodCall, MethodResult
from gateway.upstream.link import Link, LinkState, Patience

Answer = Callable[[MethodResult], None]
#: calls the gateway
Invoke = Callable[[MethodCall, Answer], None]


class _Late(NamedTuple):
    """A call for a device that has no connection, and when its caller gives up."""

    call: MethodCall
    answer: Answer
    until: float


class MethodCalls:
    """The calls of one hub; `invoke` tells how to reach the gateway."""

    def __init__(self, link: Link, clock: Clock, invoke: Callable[[], Invoke | None]) -> None:
        self._link = link
        self._now = clock.monotonic
        self._invoke = invoke
        self._late: list[_Late] = []

    def make(self, call: MethodCall, answer: Answer) -> None:
        """Call a method; `answer` gets what becomes of it, at once or later."""
        if self._link.state is LinkState.QUOTA:
            answer(MethodResult(None, b"", 403, CloudError(Failure.QUOTA).message))
            return
        late = _Late(call, answer, self._now() + call.connect_timeout)
        if not self._place(late):
            self._late.append(late)

    def tick(self) -> None:
        """Let time take effect on calls that wait for a connection."""
        late, self._late = self._late, []
        self._late += [each for each in late if not self._place(each)]

    def _place(self, late: _Late) -> bool:
        """Call a device that has a connection, or give up when its caller does; whether that was done."""
        left, invoke = late.until - self._now(), self._invoke()
        if invoke is not None and self._link.admits(late.call.client_id):
            self._cross(invoke, replace(late.call, connect_timeout=max(0.0, left)), late.answer)
        elif left <= 0:
            late.answer(MethodResult(None, b"", 404, f"Client {late.call.client_id} not found"))
        else:
            return False
        return True

    def _cross(self, invoke: Invoke, call: MethodCall, answer: Answer) -> None:
        lost = MethodResult(None, b"", 504, f"Timed out waiting for a response to method {call.name}")
        until = self._now() + call.connect_timeout + call.response_timeout

        def answered(result: MethodResult) -> None:
            left = max(0.0, until - self._now())
            way_back = Patience(left, left, throttles=False)  # with a latency, it stands for both ways
            self._link.ask(None, lambda: answer(result), lambda _: answer(lost), way_back)

        invoke(call, answered)
