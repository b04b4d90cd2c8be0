"""The way from the store to the upstream inbox.

Rule: a message leaves the store only after the inbox has it; what a stopped gateway left behind goes first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store import Store
from gateway.upstream.inbox import Inbox

_FORGET_EVERY = 2_000  # deleting row by row would cost as much as storing
_READ_BATCH = 1_000


class Link:
    """Forwards stored messages in the order in which they were stored."""

    def __init__(self, store: Store, inbox: Inbox, log: logging.Logger) -> None:
        self._store = store
        self._inbox = inbox
        self._log = log
        self._delivered = 0
        self._forgotten = 0
        self._tried = 0  # up to where forgetting was last tried

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
        if self._delivered - self._tried >= _FORGET_EVERY:
            self.settle()

    def settle(self) -> None:
        """Drop from the store what has been delivered; what it cannot drop is delivered again after a restart."""
        if self._delivered <= self._forgotten:
            return
        self._tried = self._delivered
        try:
            self._store.forget(self._delivered)
        except StoreError as error:
            self._log.warning("%s", error.message)
        else:
            self._forgotten = self._delivered
