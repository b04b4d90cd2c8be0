"""Where messages wait between PUBACK and upstream.

Rule: a message is acknowledged only after `write` has returned for it, and forgotten only after it is upstream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.hub.messages import Message as Message
from gateway.hub.messages import StoredMessage as StoredMessage


class Store(Protocol):
    """A store of messages; all calls come from the gateway's event loop."""

    def write(self, messages: Sequence[Message]) -> int:
        """Store the messages together; returns the sequence number of the first. Raises StoreError and keeps none."""

    def read(self, after: int, limit: int) -> list[StoredMessage]:
        """Up to `limit` messages with a sequence number above `after`, in order."""

    def forget(self, through: int) -> None:
        """Drop every message with a sequence number up to and including `through`."""

    def close(self) -> None:
        """Let go of files; nothing may be called afterwards."""
