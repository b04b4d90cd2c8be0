"""The way from the store to the upstream inbox.

Rule: a message leaves the store only after the inbox has it; what a stopped gateway left behind goes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.hub.messages import Message
from gateway.store import Store
from gateway.upstream.inbox import Inbox

_FORGET_EVERY = 2_000  # deleting row by row would cost as much as storing
_READ_BATCH = 1_000


class Link:
    """Forwards stored messages in the order in which they were stored."""

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store = store
        self._inbox = inbox
        self._delivered = 0
        self._forgotten = 0

    def catch_up(self) -> int:
        """Forward what waits in the store; returns how many messages that were."""
        count = 0
        while waiting := self._store.read(self._delivered, _READ_BATCH):
            self.forward(waiting)
            count += len(waiting)
        return count

    def forward(self, messages: Sequence[Message]) -> None:
        """Forward messages that are stored."""
        self._inbox.deliver(messages)
        self._delivered = messages[-1].sequence
        if self._delivered - self._forgotten >= _FORGET_EVERY:
            self.settle()

    def settle(self) -> None:
        """Drop from the store what has been delivered."""
        if self._delivered > self._forgotten:
            self._store.forget(self._delivered)
            self._forgotten = self._delivered
