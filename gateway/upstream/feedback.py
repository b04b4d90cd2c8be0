"""What became of cloud-to-device messages, for the back ends that asked.

Rule: records wait until 64 are together or 15 seconds have passed since the last batch; a batch that nobody takes
within an hour is gone, and so is the oldest one when there are too many.
Source: IoT Hub documentation, "Understand cloud-to-device messaging from an IoT hub" (message feedback).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

Status = Literal["Success", "Expired", "DeliveryCountExceeded", "Rejected", "Purged"]

CONTENT_TYPE = "application/vnd.microsoft.iothub.feedback.json"


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """How one message ended, and when (seconds since 1970 UTC)."""

    original_message_id: str
    device_id: str
    status: Status
    enqueued: float


@dataclass(frozen=True, slots=True)
class FeedbackBatch:
    """Records that go to the back end together; `enqueued` in seconds since 1970 UTC."""

    records: tuple[FeedbackRecord, ...]
    enqueued: float

    @property
    def body(self) -> bytes:
        """The JSON array that a back end gets."""
        return json.dumps([_served(record) for record in self.records]).encode()


class Feedback:
    """The feedback endpoint: records go in, batches come out."""

    def __init__(self, *, batch_size: int, batch_seconds: float, ttl: float, most_batches: int) -> None:
        self._batch_size = batch_size
        self._batch_seconds = batch_seconds
        self._ttl = ttl
        self._most_batches = most_batches
        self._pending: list[FeedbackRecord] = []
        self._batches: deque[FeedbackBatch] = deque()
        self._last_batch = 0.0
        self.forgotten = 0

    def __len__(self) -> int:
        """How many records wait, in batches or for one."""
        return len(self._pending) + sum(len(batch.records) for batch in self._batches)

    def __iter__(self) -> Iterator[FeedbackRecord]:
        """The records that wait, oldest first; none is taken."""
        return iter([*chain.from_iterable(batch.records for batch in self._batches), *self._pending])

    def add(self, record: FeedbackRecord) -> None:
        """Take a record in; a full batch is made at once."""
        self._pending.append(record)
        if len(self._pending) >= self._batch_size:
            self._close(record.enqueued)

    def receive(self, now: float) -> FeedbackBatch | None:
        """The oldest batch that is ready at `now`, which is gone then; None when there is none."""
        self.tick(now)
        return self._batches.popleft() if self._batches else None

    def tick(self, now: float) -> None:
        """Make a batch when it is time, and drop those that are too old."""
        if self._pending and now - self._last_batch >= self._batch_seconds:
            self._close(now)
        while self._batches and self._batches[0].enqueued + self._ttl <= now:
            self._drop()

    def forget(self, device_id: str) -> None:
        """Drop what is pending for a device that is deleted; what is in a batch already stays."""
        self._pending = [record for record in self._pending if record.device_id != device_id]

    def _close(self, now: float) -> None:
        self._batches.append(FeedbackBatch(tuple(self._pending), now))
        self._pending.clear()
        self._last_batch = now
        if len(self._batches) > self._most_batches:
            self._drop()

    def _drop(self) -> None:
        self.forgotten += len(self._batches.popleft().records)


def _served(record: FeedbackRecord) -> dict[str, str]:
    return {
        "originalMessageId": record.original_message_id,
        "enqueuedTimeUtc": f"{datetime.fromtimestamp(record.enqueued, UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
        "statusCode": record.status,
        "description": record.status,
        "deviceId": record.device_id,
    }
