"""What became of cloud-to-device messages, for the back ends that asked.

Rule: records wait until 64 are together or 15 seconds have passed since the last batch; a batch that nobody takes
within an hour is gone, and so is the oldest one when there are too many. A record is kept under its number, a batch
as the span of its records' numbers.
Source: IoT Hub documentation, "Understand cloud-to-device messaging from an IoT hub" (message feedback).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

from gateway.errors import StoreError
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper, encode

Status = Literal["Success", "Expired", "DeliveryCountExceeded", "Rejected", "Purged"]

CONTENT_TYPE = "application/vnd.microsoft.iothub.feedback.json"
#: the kinds under which records and batches are kept
FEEDBACK, BATCH = "feedback", "feedback-batch"


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """How one message ended, and when (seconds since 1970 UTC)."""

    original_message_id: str
    device_id: str
    status: Status
    enqueued: float
    number: int = field(default=0, compare=False)  # in the order of ending, once it is kept


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

    def __init__(
        self, *, batch_size: int, batch_seconds: float, ttl: float, most_batches: int, keeper: Keeper | None = None
    ) -> None:
        self._batch_size = batch_size
        self._batch_seconds = batch_seconds
        self._ttl = ttl
        self._most_batches = most_batches
        self._pending: list[FeedbackRecord] = []
        self._batches: deque[FeedbackBatch] = deque()
        self._last_batch = 0.0
        self._keeper = keeper or ForgetfulKeeper()
        self._next_number = 1
        self.forgotten = 0

    def load(self) -> None:
        """Read anew what is kept. Raises StoreError."""
        try:
            records = [FeedbackRecord(**fields) for fields in self._keeper.load(FEEDBACK).values()]
            spans = [
                (span["first"], span["last"], float(span["enqueued"])) for span in self._keeper.load(BATCH).values()
            ]
            batches = [
                FeedbackBatch(tuple(record for record in records if first <= record.number <= last), enqueued)
                for first, last, enqueued in spans
            ]
        except (TypeError, KeyError, ValueError) as wrong:
            hint = "move hub.db out of the --state folder to start without it; it was not changed"
            raise StoreError(f"feedback that is kept cannot be read: {type(wrong).__name__}", hint) from None
        batched = max((last for _, last, _ in spans), default=0)
        self._batches = deque(batches)
        self._pending = [record for record in records if record.number > batched]
        self._next_number = max((record.number for record in records), default=0) + 1

    def __len__(self) -> int:
        """How many records wait, in batches or for one."""
        return len(self._pending) + sum(len(batch.records) for batch in self._batches)

    def __iter__(self) -> Iterator[FeedbackRecord]:
        """The records that wait, oldest first; none is taken."""
        return iter([*chain.from_iterable(batch.records for batch in self._batches), *self._pending])

    def add(self, record: FeedbackRecord, along: Sequence[Change] = ()) -> None:
        """Take a record in, and keep the changes `along` with it; a full batch is made at once. Raises StoreError."""
        record = replace(record, number=self._next_number)
        pending = [*self._pending, record]
        full = len(pending) >= self._batch_size
        changes = [*along, (FEEDBACK, str(record.number), encode(asdict(record)))]
        self._keeper.write([*changes, *(self._closing(pending, record.enqueued) if full else ())])
        self._next_number += 1
        self._pending = pending
        if full:
            self._closed(record.enqueued)

    def receive(self, now: float) -> FeedbackBatch | None:
        """The oldest batch that is ready at `now`, which is gone then; None when there is none. Raises StoreError."""
        self.tick(now)
        if not self._batches:
            return None
        self._keeper.write(_removal(self._batches[0]))
        return self._batches.popleft()

    def tick(self, now: float) -> None:
        """Make a batch when it is time, and drop those that are too old. Raises StoreError."""
        if self._pending and now - self._last_batch >= self._batch_seconds:
            self._keeper.write(self._closing(self._pending, now))
            self._closed(now)
        while self._batches and self._batches[0].enqueued + self._ttl <= now:
            self._keeper.write(_removal(self._batches[0]))
            self._drop()

    def removal(self, device_id: str) -> list[Change]:
        """What `forget` makes of what is kept."""
        return [(FEEDBACK, str(record.number), None) for record in self._pending if record.device_id == device_id]

    def forget(self, device_id: str) -> None:
        """Drop what is pending for a device that is deleted; what is in a batch already stays."""
        self._pending = [record for record in self._pending if record.device_id != device_id]

    def _closing(self, pending: Sequence[FeedbackRecord], now: float) -> list[Change]:
        """What `_closed` makes of what is kept."""
        span = {"first": pending[0].number, "last": pending[-1].number, "enqueued": now}
        changes: list[Change] = [(BATCH, str(span["first"]), encode(span))]
        return changes + (_removal(self._batches[0]) if len(self._batches) >= self._most_batches else [])

    def _closed(self, now: float) -> None:
        self._batches.append(FeedbackBatch(tuple(self._pending), now))
        self._pending = []
        self._last_batch = now
        if len(self._batches) > self._most_batches:
            self._drop()

    def _drop(self) -> None:
        self.forgotten += len(self._batches.popleft().records)


def _removal(batch: FeedbackBatch) -> list[Change]:
    records: list[Change] = [(FEEDBACK, str(record.number), None) for record in batch.records]
    return [(BATCH, str(batch.records[0].number), None), *records]


def _served(record: FeedbackRecord) -> dict[str, str]:
    return {
        "originalMessageId": record.original_message_id,
        "enqueuedTimeUtc": f"{datetime.fromtimestamp(record.enqueued, UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
        "statusCode": record.status,
        "description": record.status,
        "deviceId": record.device_id,
    }
