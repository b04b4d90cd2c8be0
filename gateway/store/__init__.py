"""Where messages wait between PUBACK and where they go, and where the sessions of absent clients are kept.

Rules: a message is acknowledged only after `write` has returned for it, and forgotten only after it has arrived. A
queue is what waits for one endpoint with one priority; its order is that of its numbers. A message that goes to several
endpoints has the same number in each queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from gateway.hub.messages import Message

#: the queue of a gateway without routes of its own: to the cloud, with the lowest priority
UPSTREAM = "2000000000 $upstream"


class Store(Protocol):
    """A store of messages and sessions; all calls come from the gateway's event loop."""

    def next_sequence(self) -> int:
        """The lowest number that no message has had; whoever writes counts on from here."""

    def write(self, messages: Sequence[Message], queue: str = UPSTREAM) -> None:
        """Store the messages, which are in the order of their numbers, together. Raises StoreError and keeps none."""

    def write_all(self, batches: Mapping[str, Sequence[Message]]) -> None:
        """Store messages in several queues together. Raises StoreError and keeps none."""

    def read(self, after: int, limit: int, queue: str = UPSTREAM) -> list[Message]:
        """Messages of a queue with a sequence number above `after`, in order; none when there are no more.

        At most `limit`, and fewer when they are large. Raises StoreError.
        """

    def forget(self, through: int, queue: str = UPSTREAM) -> None:
        """Drop a queue's messages with numbers up to and including `through`. Raises StoreError and drops none."""

    def drop(self, numbers: AbstractSet[int], queue: str = UPSTREAM) -> None:
        """Drop single messages of a queue, wherever they stand. Raises StoreError and drops none."""

    def queues(self) -> dict[str, int]:
        """Every queue there has been, with the number through which it is forgotten. Raises StoreError."""

    def count(self, queue: str) -> int:
        """How many messages wait in a queue; costs the same however many they are. Raises StoreError."""

    def limit(self, size: int | None) -> None:
        """Take no more than `size` bytes of messages, None for any; a store on disk has its disk's limit alone."""

    def save_session(self, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """Keep a session's topic filters with the QoS granted. Raises StoreError."""

    def drop_session(self, client_id: str) -> None:
        """Forget a session, if it is kept. Raises StoreError."""

    def sessions(self) -> dict[str, dict[str, int]]:
        """The sessions kept: client id to topic filters with the QoS granted. Raises StoreError."""

    def close(self) -> None:
        """Let go of files; nothing may be called afterwards."""
