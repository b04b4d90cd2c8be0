"""A store that forgets everything when the gateway stops."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from gateway.hub.messages import Message, StoredMessage


class MemoryStore:
    """Store in a queue."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._first = 1  # sequence number of the oldest message

    def write(self, messages: Sequence[Message]) -> int:
        """Append; see Store."""
        first = self._first + len(self._messages)
        self._messages.extend(messages)
        return first

    def read(self, after: int, limit: int) -> list[StoredMessage]:
        """Read; see Store."""
        skip = max(0, after - self._first + 1)
        waiting = islice(self._messages, skip, skip + limit)
        return [StoredMessage(self._first + skip + offset, message) for offset, message in enumerate(waiting)]

    def forget(self, through: int) -> None:
        """Drop from the front; see Store."""
        while self._messages and self._first <= through:
            self._messages.popleft()
            self._first += 1

    def close(self) -> None:
        """Nothing to let go of."""
