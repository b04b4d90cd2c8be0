"""What waits for one endpoint, and when it is sent.

Rules: one batch is under way at a time. A batch is taken from the queue with the most urgent priority that has anything
(0 before 1), and comes from the store as soon as more waits than has just been handed in. What an endpoint did not take
is sent again before anything else, after 1, 2, 4 ... up to 60 seconds, for ever; so order holds for each queue, and one
message that nobody takes holds up everything behind it. What has outlived its time is not sent, unless it is being sent
already. A turn of the loop sends what came in it and a few batches of what waited, so that a long queue keeps nobody
waiting.
Sources: StoringAsyncEndpointExecutor.cs, EndpointExecutorFsm.cs and MessageStore.cs (`MessageIterator`,
`CleanupProcessor`) of Azure/iotedge; RoutingModule.cs for the retry's figures.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import StoreError
from gateway.hub.messages import Message

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
BATCH = 100  # MaxUpstreamBatchSize x UpstreamFanOutFactor
_TURN = 200  # messages from the store that are sent before others have their turn
_READ = 1_000  # read from the store at once: rows are larger than batches
#: deleting row by row would cost as much as storing; what is not deleted is sent again after a crash
_FORGET_EVERY = 500


class Stored(Protocol):
    """The part of a store that an outbox needs."""

    def read(self, after: int, limit: int, queue: str) -> list[Message]:
        """See gateway.store.Store."""

    def forget(self, through: int, queue: str) -> None:
        """See gateway.store.Store."""

    def drop(self, numbers: AbstractSet[int], queue: str) -> None:
        """See gateway.store.Store."""


#: takes a batch, and later tells which of it has to be sent again
Send = Callable[[Sequence[Message], Callable[[Sequence[Message]], None]], None]
#: runs something in a later turn of the loop
Later = Callable[[Callable[[], None]], object]


@dataclass
class _Queue:
    name: str
    taken: int  # everything through here is under way, has arrived or was dropped
    delivered: int  # everything through here has arrived or was dropped
    forgotten: int
    stored: bool = True  # the store may have more behind `ahead`
    ahead: deque[Message] = field(default_factory=deque)  # what follows on `taken`, as the store has it
    fresh: Sequence[Message] = ()  # likewise, just handed in: nothing else waits then


class Outbox:
    """The queues of one endpoint by priority.

    `time_to_live` is the hub's own, for messages without one: seconds, below 0 for ever. `expired` is told which
    messages have outlived theirs.
    """

    def __init__(
        self,
        store: Stored,
        send: Send,
        now: Callable[[], float],
        log: logging.Logger,
        *,
        later: Later,
        time_to_live: Callable[[], int] = lambda: -1,
        expired: Callable[[Sequence[Message]], None] = lambda messages: None,
        batch: int = BATCH,
    ) -> None:
        self.priority = 0  # of what is under way
        self._store = store
        self._send = send
        self._now = now
        self._log = log
        self._later = later
        self._time_to_live = time_to_live
        self._expired = expired
        self._batch = batch
        self._queues: dict[int, _Queue] = {}
        self._again: tuple[_Queue, Sequence[Message]] | None = None
        self._under_way = False
        self._resumes = False
        self._cleaning: Iterator[None] | None = None
        self._closed = False
        self._stuck = False  # the store could not drop what has arrived, which has been told
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
        if queue.stored or queue.ahead or queue.fresh or self._under_way or self._again:
            queue.stored = True
        else:
            queue.fresh = messages

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        waiting = any(queue.stored or queue.ahead or queue.fresh for queue in self._queues.values())
        return not (waiting or self._under_way or self._again)

    def pump(self) -> None:
        """Send what can be sent now; of what waits in the store a part, the rest in later turns."""
        self._pump()
        if self._under_way or self._again:
            for queue in self._queues.values():
                if queue.fresh:  # it has to wait: the store has it, too
                    queue.fresh, queue.stored = (), True

    def _pump(self) -> None:
        sent = 0
        while not (self._under_way or self._closed) and self._now() >= self._due:
            if sent >= _TURN:
                self._go_on_later()
                return
            try:
                found = self._again or self._next()
            except StoreError as error:
                self._log.error("%s", error.message)
                self._due = self._now() + LAST_RETRY
                return
            if found is None:
                return
            if not found[1]:
                self._go_on_later()
                return
            self._again, self._under_way = None, True
            sent += len(found[1]) if found[0].stored else 0
            self._dispatch(*found)

    def _go_on_later(self) -> None:
        if not self._resumes:
            self._resumes = True
            self._later(self._resume)

    def _resume(self) -> None:
        self._resumes = False
        self.pump()

    def retry_now(self) -> None:
        """The endpoint can be reached again: do not wait any longer."""
        self._retries, self._due = 0, 0.0
        self.pump()

    def clean_up(self, *, entire: bool = False) -> None:
        """Drop from the front of each queue what has outlived its time; `entire`: from anywhere in it.

        What is under way or waits to be sent again is not looked at.
        """
        if self._cleaning is None:
            self._cleaning = self._clean(entire)
            self._clean_on()

    def settle(self) -> None:
        """Drop from the store what has arrived; what it cannot drop is sent again after a restart."""
        for queue in self._queues.values():
            self._forget(queue)

    def close(self) -> None:
        """Settle, and touch the store no more; what is under way is sent again by whoever opens it next."""
        self.settle()
        self._closed = True

    def _next(self) -> tuple[_Queue, Sequence[Message]] | None:
        """The next batch; an empty one when there may be more behind a great many that were dropped."""
        for queue in self._queues.values():
            if queue.fresh:
                fresh, queue.fresh = queue.fresh[: self._batch], queue.fresh[self._batch :]
                queue.taken = fresh[-1].sequence
                return queue, fresh
            if not (queue.ahead or queue.stored):
                continue
            batch: list[Message] = []
            while len(batch) < self._batch:
                message = self._first(queue)
                if message is None:
                    break
                queue.ahead.popleft()
                queue.taken = message.sequence
                batch.append(message)
            if batch or queue.ahead or queue.stored:
                return queue, batch
            self._arrived(queue)
        return None

    def _first(self, queue: _Queue) -> Message | None:
        """The next message of a queue that is still to be sent; those before it are dropped, a thousand at most."""
        now, found = self._now(), None
        dropped: list[Message] = []
        while len(dropped) < _READ and (queue.ahead or self._read(queue)):
            message = queue.ahead[0]
            limit = message.time_to_live or self._time_to_live()
            if limit < 0 or message.enqueued / 1000 + limit > now:
                found = message
                break
            dropped.append(queue.ahead.popleft())
            queue.taken = message.sequence
        if dropped:
            self._expired(dropped)
        return found

    def _read(self, queue: _Queue) -> bool:
        if queue.stored:
            queue.ahead.extend(self._store.read(queue.taken, _READ, queue.name))
            queue.stored = bool(queue.ahead)
        return bool(queue.ahead)

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
            queue.delivered = max(queue.delivered, failed[0].sequence - 1)
        else:
            self._retries, self._due = 0, 0.0
            queue.delivered = queue.taken
        if queue.delivered - queue.forgotten >= _FORGET_EVERY:
            self._forget(queue)

    def _arrived(self, queue: _Queue) -> None:
        """Nothing of a queue is left to be sent, or only what is behind `taken`."""
        if not self._under_way and (self._again is None or self._again[0] is not queue):
            queue.delivered = queue.taken

    def _forget(self, queue: _Queue) -> None:
        if queue.delivered <= queue.forgotten or self._closed:
            return
        try:
            self._store.forget(queue.delivered, queue.name)
        except StoreError as error:
            if not self._stuck:
                self._log.warning("%s", error.message)
            self._stuck = True
        else:
            queue.forgotten, self._stuck = queue.delivered, False

    # -- clean-up -----------------------------------------------------------------------------------------------------

    def _clean_on(self) -> None:
        if self._closed or self._cleaning is None:
            return
        try:
            next(self._cleaning)
        except StopIteration:
            self._cleaning = None
        except StoreError as error:
            self._cleaning = None
            self._log.error("%s", error.message)
        else:
            self._later(self._clean_on)

    def _clean(self, entire: bool) -> Iterator[None]:
        for queue in self._queues.values():
            while self._first(queue) is None and (queue.ahead or queue.stored):
                yield
            self._arrived(queue)
            self._forget(queue)
            if entire:
                yield from self._clean_behind(queue)

    def _clean_behind(self, queue: _Queue) -> Iterator[None]:
        """Look at every message of a queue, a read at a time."""
        seen = queue.taken
        while found := self._store.read(seen, _READ, queue.name):
            now, own = self._now(), self._time_to_live()
            dead = [
                one
                for one in found
                if 0 <= (one.time_to_live or own) <= now - one.enqueued / 1000 and one.sequence > queue.taken
            ]
            if dead:
                numbers = {one.sequence for one in dead}
                self._store.drop(numbers, queue.name)
                queue.ahead = deque(one for one in queue.ahead if one.sequence not in numbers)
                self._expired(dead)
            seen = found[-1].sequence
            yield
