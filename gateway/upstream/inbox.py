"""What arrived upstream, kept in memory for tests and people to read."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from gateway.hub.messages import Message, edge_message_id


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message as a back end reads it; `enqueued_time` is when the gateway took it.

    A message that arrives twice has the same `edge_message_id` both times, and no other message has it.
    """

    sequence: int
    device_id: str
    module_id: str | None
    enqueued_time: datetime
    properties: Mapping[str, str | None]
    system_properties: Mapping[str, str]
    body: bytes
    edge_message_id: str = ""

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Inbox:
    """The last messages that arrived: at most `limit` of them, and `byte_limit` bytes.

    `forgotten` counts older ones that had to go.

    Messages are kept as they were stored and turned into Delivered when someone looks.
    """

    def __init__(self, limit: int = 100_000, byte_limit: int = 1 << 28) -> None:
        self.limit = limit
        self.byte_limit = byte_limit
        self.forgotten = 0
        self.store_origin = "0" * 32  # of the gateway's store: with it, a number becomes an id (gateway.store.Store)
        self._bytes = 0
        self._total = 0
        self._messages: deque[Message] = deque()
        self._waiting: deque[Message] = deque()  # those that next_message has not handed out
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def messages(self) -> tuple[Delivered, ...]:
        """Everything kept, oldest first."""
        return tuple(map(self._delivered, self._messages))

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages in; the oldest go when there are too many."""
        self._messages.extend(messages)
        self._waiting.extend(messages)
        self._total += len(messages)
        self._bytes += sum(map(_size, messages))
        while len(self._messages) > self.limit or self._bytes > self.byte_limit:
            oldest = self._messages.popleft()
            self._bytes -= _size(oldest)
            self.forgotten += 1
            if self._waiting and self._waiting[0] is oldest:
                self._waiting.popleft()
        self._arrived.set()

    async def next_message(self, device_id: str | None = None, timeout: float | None = None) -> Delivered:  # noqa: ASYNC109 - part of the public interface
        """The next message not yet handed out, waiting for it up to `timeout` seconds (TimeoutError).

        With `device_id`, the next one of that device; those of others stay for whoever asks for them.
        """
        candidates: Iterable[Message] = self._waiting
        async with asyncio.timeout(timeout):
            while True:
                for message in candidates:
                    if device_id in (None, message.device_id):
                        self._waiting.remove(message)
                        return self._delivered(message)
                seen = self._total
                self._arrived.clear()
                await self._arrived.wait()
                candidates = self._newest(self._total - seen)

    def _newest(self, count: int) -> list[Message]:
        """What has arrived last, found from the end: others' messages may be many."""
        return list(islice(reversed(self._waiting), count))[::-1]

    def clear(self) -> None:
        """Forget everything that arrived."""
        self._messages.clear()
        self._waiting.clear()
        self._bytes = 0

    def _delivered(self, message: Message) -> Delivered:
        return Delivered(
            sequence=message.sequence,
            device_id=message.device_id,
            module_id=message.module_id,
            enqueued_time=datetime.fromtimestamp(message.enqueued / 1000, UTC),
            properties=json.loads(message.properties),
            system_properties=json.loads(message.system_properties),
            body=message.body,
            edge_message_id=edge_message_id(self.store_origin, message.sequence),
        )


def _size(message: Message) -> int:
    return len(message.body) + len(message.properties) + len(message.system_properties)
