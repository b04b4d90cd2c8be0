"""A store that forgets everything when the gateway stops."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import dropwhile, islice

from gateway.hub.messages import Message


class MemoryStore:
    """Store in a queue."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._next = 1
        self._sessions: dict[str, dict[str, int]] = {}

    def next_sequence(self) -> int:
        """A new store starts at 1; see Store."""
        return self._next

    def write(self, messages: Sequence[Message]) -> None:
        """Append; see Store."""
        self._messages.extend(messages)
        self._next = messages[-1].sequence + 1

    def read(self, after: int, limit: int) -> list[Message]:
        """Read; see Store."""
        return list(islice(dropwhile(lambda message: message.sequence <= after, self._messages), limit))

    def forget(self, through: int) -> None:
        """Drop from the front; see Store."""
        while self._messages and self._messages[0].sequence <= through:
            self._messages.popleft()

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
