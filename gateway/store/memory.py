"""A store that forgets everything when the gateway stops.

Source of its limit: StorageSpaceAwareDbStore.cs and ConfigUpdater.cs of Azure/iotedge (`storeLimits.maxSizeBytes`,
StorageFullException).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import dropwhile, islice

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store import UPSTREAM


class MemoryStore:
    """Store in queues."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Message]] = {UPSTREAM: deque()}
        self._through: dict[str, int] = {}
        self._next = 1
        self._size = 0
        self._limit: int | None = None
        self._sessions: dict[str, dict[str, int]] = {}

    def next_sequence(self) -> int:
        """A new store starts at 1; see Store."""
        return self._next

    def write(self, messages: Sequence[Message], queue: str = UPSTREAM) -> None:
        """Append; see Store."""
        self._take(_size(messages))
        self._queues.setdefault(queue, deque()).extend(messages)
        self._next = messages[-1].sequence + 1

    def write_all(self, batches: Mapping[str, Sequence[Message]]) -> None:
        """Append to each; see Store."""
        self._take(sum(map(_size, batches.values())))
        for queue, messages in batches.items():
            self._queues.setdefault(queue, deque()).extend(messages)
            self._next = max(self._next, messages[-1].sequence + 1)

    def _take(self, size: int) -> None:
        if self._limit is not None and self._size + size > self._limit:
            hint = "raise storeAndForwardConfiguration.storeLimits.maxSizeBytes in the twin of $edgeHub"
            raise StoreError(f"Memory store is full: {self._size} of {self._limit} bytes are taken", hint)
        self._size += size

    def read(self, after: int, limit: int, queue: str = UPSTREAM) -> list[Message]:
        """Read; see Store."""
        waiting = self._queues.get(queue, ())
        return list(islice(dropwhile(lambda message: message.sequence <= after, waiting), limit))

    def forget(self, through: int, queue: str = UPSTREAM) -> None:
        """Drop from the front; see Store."""
        waiting = self._queues.get(queue)
        while waiting and waiting[0].sequence <= through:
            self._size -= _size((waiting.popleft(),))
        self._through[queue] = through

    def drop(self, numbers: AbstractSet[int], queue: str = UPSTREAM) -> None:
        """Keep the others; see Store."""
        waiting = self._queues.get(queue)
        if waiting is None:
            return
        self._size -= _size(one for one in waiting if one.sequence in numbers)
        self._queues[queue] = deque(one for one in waiting if one.sequence not in numbers)

    def queues(self) -> dict[str, int]:
        """The names; see Store."""
        return {queue: self._through.get(queue, 0) for queue in self._queues}

    def count(self, queue: str) -> int:
        """The length; see Store."""
        return len(self._queues.get(queue, ()))

    def limit(self, size: int | None) -> None:
        """What is there stays; see Store."""
        self._limit = size

    def save_session(self, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """Keep a copy; see Store."""
        self._sessions[client_id] = dict(subscriptions)

    def drop_session(self, client_id: str) -> None:
        """Forget; see Store."""
        self._sessions.pop(client_id, None)

    def sessions(self) -> dict[str, dict[str, int]]:
        """Copies; see Store."""
        return {client_id: dict(subscriptions) for client_id, subscriptions in self._sessions.items()}

    def close(self) -> None:
        """Nothing to let go of."""


def _size(messages: Iterable[Message]) -> int:
    return sum(len(one.body) + len(one.properties) + len(one.system_properties) for one in messages)
