"""What waits for one endpoint, and when it is sent.

Rules: one batch is under way at a time. A batch is taken from the queue with the most urgent priority that has anything
(0 before 1), and comes from the store as soon as more waits than has just been handed in. What an endpoint did not take
is sent again before anything else, after 1, 2, 4 ... up to 60 seconds, for ever; so order holds for each queue, and one
message that nobody takes holds up everything behind it.
Sources: StoringAsyncEndpointExecutor.cs, RetryingEndpointExecutor and MessageStore.cs (`CleanupProcessor`) of
Azure/iotedge; RoutingModule.cs for the retry's figures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import StoreError
from gateway.hub.messages import Message

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
BATCH = 100  # MaxUpstreamBatchSize x UpstreamFanOutFactor
_FORGET_EVERY = 2_000  # deleting row by row would cost as much as storing


class Stored(Protocol):
    """The part of a store that an outbox needs."""

    def read(self, after: int, limit: int, queue: str) -> list[Message]:
        """See gateway.store.Store."""

    def forget(self, through: int, queue: str) -> None:
        """See gateway.store.Store."""


#: takes a batch, and later tells which of it has to be sent again
Send = Callable[[Sequence[Message], Callable[[Sequence[Message]], None]], None]


@dataclass
class _Queue:
    name: str
    taken: int  # everything through here is under way, has arrived or was dropped
    delivered: int  # everything through here has arrived or was dropped
    forgotten: int
    stored: bool = True  # the store has more behind `taken`
    fresh: list[Message] = field(default_factory=list)  # all there is behind `taken`, unless `stored`


class Outbox:
    """The queues of one endpoint by priority; `expired` is told which messages have outlived their time."""

    def __init__(
        self,
        store: Stored,
        send: Send,
        now: Callable[[], float],
        log: logging.Logger,
        *,
        expired: Callable[[Sequence[Message]], None] = lambda messages: None,
    ) -> None:
        self.priority = 0  # of what is under way
        self._expired = expired
        self._store = store
        self._send = send
        self._now = now
        self._log = log
        self._queues: dict[int, _Queue] = {}
        self._again: tuple[_Queue, Sequence[Message]] | None = None
        self._under_way = False
        self._retries = 0
        self._due = 0.0  # nothing is sent before

    def open(self, priority: int, name: str, delivered: int) -> None:
        """Take on a queue of the store, which may have messages from before."""
        if priority not in self._queues:
            self._queues[priority] = _Queue(name, delivered, delivered, delivered)
            self._queues = dict(sorted(self._queues.items()))

    def add(self, priority: int, messages: Sequence[Message]) -> None:
        """Messages have been stored in the queue of that priority."""
        queue = self._queues[priority]
        if queue.stored or queue.fresh or self._under_way or self._again:
            queue.stored, queue.fresh = True, []
        else:
            queue.fresh = list(messages)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        waiting = any(queue.stored or queue.fresh for queue in self._queues.values())
        return not (waiting or self._under_way or self._again)

    def pump(self) -> None:
        """Send what can be sent now."""
        while not self._under_way and self._now() >= self._due:
            try:
                found = self._again or self._next()
            except StoreError as error:
                self._log.error("%s", error.message)
                self._due = self._now() + LAST_RETRY
                return
            if found is None:
                return
            self._again, self._under_way = None, True
            self._dispatch(*found)

    def retry_now(self) -> None:
        """The endpoint can be reached again: do not wait any longer."""
        self._retries, self._due = 0, 0.0
        self.pump()

    def expire(self, time_to_live: int) -> int:
        """Drop from the front of each queue what has outlived its time (`time_to_live` below 0: for ever).

        What is under way or waits to be sent again is not looked at. Returns how many were dropped; raises StoreError.
        """
        return sum(self._expire(queue, time_to_live) for queue in self._queues.values() if queue.stored)

    def settle(self) -> None:
        """Drop from the store what has arrived; what it cannot drop is sent again after a restart."""
        for queue in self._queues.values():
            self._forget(queue)

    def _next(self) -> tuple[_Queue, Sequence[Message]] | None:
        for queue in self._queues.values():
            if queue.fresh:
                batch, queue.fresh = queue.fresh, []
            elif queue.stored:
                batch = self._store.read(queue.taken, BATCH, queue.name)
                queue.stored = len(batch) == BATCH
            else:
                continue
            if batch:
                queue.taken = batch[-1].sequence
                return queue, batch
        return None

    def _dispatch(self, queue: _Queue, batch: Sequence[Message]) -> None:
        at_once = True
        self.priority = int(queue.name.partition(" ")[0])

        def done(failed: Sequence[Message]) -> None:
            self._sent(queue, failed)
            if not at_once:
                self.pump()

        self._send(batch, done)
        at_once = False

    def _sent(self, queue: _Queue, failed: Sequence[Message]) -> None:
        self._under_way = False
        if failed:
            self._again = (queue, failed)
            self._due = self._now() + min(FIRST_RETRY * 2**self._retries, LAST_RETRY)
            self._retries = min(self._retries + 1, 6)
        else:
            self._retries, self._due = 0, 0.0
            self._arrived(queue)

    def _expire(self, queue: _Queue, time_to_live: int) -> int:
        dropped, now = 0, self._now()
        while queue.stored:
            batch = self._store.read(queue.taken, BATCH, queue.name)
            dead = next((n for n, one in enumerate(batch) if not _is_over(one, now, time_to_live)), len(batch))
            if dead:
                queue.taken = batch[dead - 1].sequence
                dropped += dead
                self._expired(batch[:dead])
            if dead < BATCH:
                queue.stored = dead < len(batch)
                break
        if not self._under_way and (self._again is None or self._again[0] is not queue):
            self._arrived(queue)
        return dropped

    def _arrived(self, queue: _Queue) -> None:
        queue.delivered = queue.taken
        if queue.delivered - queue.forgotten >= _FORGET_EVERY:
            self._forget(queue)

    def _forget(self, queue: _Queue) -> None:
        if queue.delivered <= queue.forgotten:
            return
        try:
            self._store.forget(queue.delivered, queue.name)
        except StoreError as error:
            self._log.warning("%s", error.message)
        else:
            queue.forgotten = queue.delivered


def _is_over(message: Message, now: float, time_to_live: int) -> bool:
    limit = message.time_to_live or time_to_live
    return limit >= 0 and message.enqueued / 1000 + limit <= now
