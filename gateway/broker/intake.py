"""From PUBLISH to PUBACK: gather, store, acknowledge, forward.

Rule: no PUBACK leaves before the store has the message. One turn of the event loop is one batch: whatever all
connections sent in it is committed together, and every connection gets its PUBACKs in one write, in the order of its
PUBLISH packets (MQTT 3.1.1, 4.6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.hub.topics import Telemetry
from gateway.store import Store


class Sender(Protocol):
    """The connection a message came on."""

    pending: list[bytes]

    def flush(self) -> None:
        """Send what is pending."""

    def close(self, reason: str) -> None:
        """End the connection."""


_Acknowledgement = tuple[Sender, bytes | None, Callable[[], None] | None]


class Intake:
    """Collects the messages of one loop turn."""

    def __init__(
        self,
        store: Store,
        forward: Callable[[Sequence[Message]], None],
        now: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._forward = forward
        self._now = now
        self._log = log
        self._next = store.next_sequence()
        self._messages: list[Message] = []
        self._acknowledge: list[_Acknowledgement] = []
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._moment = 0  # milliseconds since 1970 UTC at which this turn's messages count as enqueued

    def accept(
        self,
        sender: Sender,
        packet_id: bytes | None,
        telemetry: Telemetry | None,
        body: bytes,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Take a PUBLISH: store it if it is telemetry, acknowledge it unless it is QoS 0 (None), `then` answer it."""
        if not self._scheduled:
            self._scheduled = True
            self._moment = int(self._now() * 1000)
            self._loop.call_soon(self.commit)
        if telemetry is not None:
            device, module, properties, system = telemetry
            sequence = self._next + len(self._messages)
            self._messages.append(Message(sequence, device, module, self._moment, properties, system, body))
        self._acknowledge.append((sender, packet_id, then))

    def commit(self) -> None:
        """Store, acknowledge and forward what has been gathered."""
        messages, acknowledge = self._messages, self._acknowledge
        self._messages, self._acknowledge, self._scheduled = [], [], False
        if messages:
            try:
                self._store.write(messages)
            except StoreError as error:
                self._refuse(acknowledge, error)
                return
            self._next += len(messages)
        senders: dict[Sender, None] = {}
        for sender, packet_id, then in acknowledge:
            if packet_id is not None:
                sender.pending.append(b"\x40\x02" + packet_id)
                senders[sender] = None
            if then is not None:
                senders[sender] = None
                then()
        for sender in senders:
            sender.flush()
        if messages:
            self._forward(messages)

    def _refuse(self, acknowledge: list[_Acknowledgement], error: StoreError) -> None:
        self._log.error("%s", error.message)
        for sender in dict.fromkeys(sender for sender, *_ in acknowledge):
            sender.close(f"a message could not be stored: {error.message}")
