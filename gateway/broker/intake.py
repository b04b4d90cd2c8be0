"""From PUBLISH to PUBACK: gather, store, acknowledge, forward.

Rule: no PUBACK leaves before the store has the message. One turn of the event loop is one batch: whatever all
connections sent in it is committed together, and every connection gets its PUBACKs in one write, in the order of its
PUBLISH packets (MQTT 3.1.1, 4.6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.hub.routing.router import Target
from gateway.hub.topics import Telemetry
from gateway.store import Store


class Sender(Protocol):
    """The connection a message came on."""

    pending: list[bytes]

    def flush(self) -> None:
        """Send what is pending."""

    def close(self, reason: str) -> None:
        """End the connection."""


class _Own:
    """In place of a connection: the hub itself."""

    def __init__(self, told: Callable[[bool], None]) -> None:
        self.pending: list[bytes] = []
        self._told = told

    def flush(self) -> None:
        """Nobody is to be told over a line."""

    def close(self, _reason: str) -> None:
        """The message could not be stored."""
        self._told(False)


_Acknowledgement = tuple[Sender, bytes | None, Callable[[], None] | None]


class Intake:
    """Collects the messages of one loop turn."""

    def __init__(
        self,
        store: Store,
        route: Callable[[Telemetry, bytes], Sequence[Target]],
        forward: Callable[[Target, Sequence[Message]], None],
        now: Callable[[], float],
        log: logging.Logger,
        *,
        unstored: Callable[[Sequence[Message]], None] = lambda messages: None,
    ) -> None:
        self._unstored = unstored
        self._store = store
        self._route = route
        self._forward = forward
        self._now = now
        self._log = log
        self._next = store.next_sequence()
        self._last = self._next  # the number after the last one given
        self._batches: dict[str, tuple[Target, list[Message]]] = {}  # by queue
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
            number = self._last
            for target in self._route(telemetry, body):
                message = Message(number, device, module, self._moment, properties, system, body, target.time_to_live)
                self._last = number + 1
                batch = self._batches.get(target.queue)
                if batch is None:
                    self._batches[target.queue] = (target, [message])
                else:
                    batch[1].append(message)
        self._acknowledge.append((sender, packet_id, then))

    def store(self, telemetry: Telemetry, body: bytes, told: Callable[[bool], None]) -> None:
        """Take a message of the hub's own; `told` hears whether it is stored, or has no need to be."""
        self.accept(_Own(told), None, telemetry, body, partial(told, True))

    def commit(self) -> None:
        """Store, acknowledge and forward what has been gathered."""
        batches, acknowledge = self._batches, self._acknowledge
        self._batches, self._acknowledge, self._scheduled = {}, [], False
        if batches:
            try:
                self._write(batches)
            except StoreError as error:
                self._last = self._next
                for _, messages in batches.values():
                    self._unstored(messages)
                self._refuse(acknowledge, error)
                return
            self._next = self._last
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
        for target, messages in batches.values():
            self._forward(target, messages)

    def _write(self, batches: dict[str, tuple[Target, list[Message]]]) -> None:
        if len(batches) == 1:
            ((queue, (_, messages)),) = batches.items()
            self._store.write(messages, queue)
        else:
            self._store.write_all({queue: messages for queue, (_, messages) in batches.items()})

    def _refuse(self, acknowledge: list[_Acknowledgement], error: StoreError) -> None:
        self._log.error("%s", error.message)
        for sender in dict.fromkeys(sender for sender, *_ in acknowledge):
            sender.close(f"a message could not be stored: {error.message}")
