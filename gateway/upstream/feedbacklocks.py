"""Feedback as a back end takes it over HTTPS: a batch is locked when it is received, and gone when it is completed.

Rule: a lock lasts a minute of the hub's clock; a batch that is given back, or whose lock has run out, comes before all
others, until it has been delivered ten times or is an hour old. Locks, and what they hold, end with the process.
Source: IoT Hub documentation, "Understand cloud-to-device messaging from an IoT hub" (feedback: lockDurationAsIso8601,
maxDeliveryCount, ttlAsIso8601).
"""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass

from gateway.errors import CommandRefusedError, HubCode
from gateway.upstream.command import CommandLimits
from gateway.upstream.feedback import Feedback, FeedbackBatch


@dataclass(slots=True)
class _Taken:
    batch: FeedbackBatch
    deliveries: int = 0
    locked_until: float = 0.0


class FeedbackLocks:
    """What has been received of `feedback` and is not completed."""

    def __init__(self, feedback: Feedback, limits: CommandLimits) -> None:
        self._feedback = feedback
        self._limits = limits
        self._locked: dict[str, _Taken] = {}
        self._returned: deque[_Taken] = deque()

    def receive(self, now: float) -> tuple[str, FeedbackBatch] | None:
        """The lock token and the oldest batch; None when there is none."""
        for token in [token for token, taken in self._locked.items() if taken.locked_until <= now]:
            self._give_back(token)
        taken = self._next(now)
        if taken is None:
            return None
        taken.deliveries += 1
        taken.locked_until = now + self._limits.lock_seconds
        token = str(uuid.uuid4())
        self._locked[token] = taken
        return token, taken.batch

    def complete(self, token: str, now: float) -> None:
        """The back end has it. Raises CommandRefusedError (412) when the token locks nothing any more."""
        self._check(token, now)
        del self._locked[token]

    def abandon(self, token: str, now: float) -> None:
        """Give it back. Raises CommandRefusedError (412) when the token locks nothing any more."""
        self._check(token, now)
        self._give_back(token)

    def _next(self, now: float) -> _Taken | None:
        while self._returned:
            taken = self._returned.popleft()
            if taken.batch.enqueued + self._limits.feedback_ttl > now:
                return taken
        batch = self._feedback.receive(now)
        return None if batch is None else _Taken(batch)

    def _check(self, token: str, now: float) -> None:
        taken = self._locked.get(token)
        if taken is None or taken.locked_until <= now:
            code = HubCode.DeviceMessageLockLost
            raise CommandRefusedError(code.status, code, "the lock token locks no feedback")

    def _give_back(self, token: str) -> None:
        taken = self._locked.pop(token)
        if taken.deliveries < self._limits.most_deliveries:
            self._returned.append(taken)
