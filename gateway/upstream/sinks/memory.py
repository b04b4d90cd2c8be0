"""The sink in which messages are read: the last ones, in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator

from gateway.upstream.arrivals import Batch, size_of


class Memory:
    """The last batches: at most `limit` messages of at most `byte_limit` bytes. `forgotten` counts those that went.

    Both `kept` and `forgotten` count by source.
    """

    def __init__(self, limit: int, byte_limit: int) -> None:
        self.limit = limit
        self.byte_limit = byte_limit
        self.kept: Counter[str] = Counter()
        self.forgotten: Counter[str] = Counter()
        self._batches: deque[Batch] = deque()
        self._count = 0
        self._bytes = 0

    @property
    def first(self) -> int | None:
        """The number of the oldest message; None when there is none."""
        return self._batches[0].first if self._batches else None

    def add(self, batch: Batch) -> None:
        """Take a batch in; the oldest messages go when there are too many."""
        self._batches.append(batch)
        self._count += len(batch)
        self.kept[batch.source] += len(batch)
        self._bytes += batch.size
        while self._count > self.limit or self._bytes > self.byte_limit:
            self._drop()

    def after(self, number: int) -> Iterator[Batch]:
        """The batches with higher numbers, in order; the first one begins right behind `number`."""
        start = bisect_right(self._batches, number, key=lambda batch: batch.last)
        for index in range(start, len(self._batches)):
            batch = self._batches[index]
            yield batch.part(number + 1 - batch.first) if batch.first <= number else batch

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self.kept.clear()
        self._count = self._bytes = 0

    def _drop(self) -> None:
        """Let the oldest messages go: a whole batch, or as much of it as is too much."""
        oldest = self._batches.popleft()
        going, size = 0, 0
        for message in oldest.messages:
            if self._count - going <= self.limit and self._bytes - size <= self.byte_limit:
                break
            going += 1
            size += size_of(message)
        self._count -= going
        self._bytes -= size
        self.kept[oldest.source] -= going
        self.forgotten[oldest.source] += going
        if going < len(oldest):
            self._batches.appendleft(oldest.part(going))
