"""Where messages wait between PUBACK and upstream, and where the sessions of absent clients are kept.

Rule: a message is acknowledged only after `write` has returned for it, and forgotten only after it is upstream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.hub.messages import Message


class Store(Protocol):
    """A store of messages and sessions; all calls come from the gateway's event loop."""

    def next_sequence(self) -> int:
        """The lowest number that no message has had; whoever writes counts on from here."""

    def write(self, messages: Sequence[Message]) -> None:
        """Store the messages, which are in the order of their numbers, together. Raises StoreError and keeps none."""

    def read(self, after: int, limit: int) -> list[Message]:
        """Up to `limit` messages with a sequence number above `after`, in order. Raises StoreError."""

    def forget(self, through: int) -> None:
        """Drop every message with a sequence number up to and including `through`. Raises StoreError and drops none."""

    def save_session(self, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """Keep a session's topic filters with the QoS granted. Raises StoreError."""

    def drop_session(self, client_id: str) -> None:
        """Forget a session, if it is kept. Raises StoreError."""

    def sessions(self) -> dict[str, dict[str, int]]:
        """The sessions kept: client id to topic filters with the QoS granted. Raises StoreError."""

    def close(self) -> None:
        """Let go of files; nothing may be called afterwards."""
