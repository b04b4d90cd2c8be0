"""Reading what arrived by number: from memory, and what is older from the history on disk.

Rule: whoever reads says after which number, and gets the number to go on with; no answer has more than `MOST_EVENTS`
messages or much more than `MOST_BYTES`, and none looks at more than `MOST_LOOKED_AT`, whatever is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.upstream.arrivals import Batch, Delivered, size_of
from gateway.upstream.inbox import Inbox

MOST_EVENTS = 1_000
MOST_BYTES = 4 << 20
MOST_LOOKED_AT = 2_000  # those of the log take ten milliseconds, in which nothing else happens


class Page(NamedTuple):
    """What was found; `next` is the number to go on with, `missed` how many messages before that are kept no more."""

    events: list[Delivered]
    next: int
    missed: int = 0


@dataclass(frozen=True)
class Filter:
    """Which messages are wanted; None for all. `device` may be `device/module`."""

    device: str | None = None
    source: str | None = None

    def wants(self, batch: Batch, index: int) -> bool:
        """Whether it is one of them."""
        if self.device is None:
            return True
        message = batch.messages[index]
        device, slash, module = self.device.partition("/")
        return message.device_id == device and (not slash or message.module_id == module)


class Feed:
    """Reads an inbox."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def latest(self) -> int:
        """The number of the newest message."""
        return self._inbox.last

    def read(self, after: int, wanted: Filter | None = None, limit: int = MOST_EVENTS) -> Page:
        """What came after that number, as far as one answer goes. Raises StoreError."""
        wanted = wanted or Filter()
        limit = min(limit, MOST_EVENTS)
        events: list[Delivered] = []
        looked_at = size = 0
        place = min(after, self._inbox.last)
        missed = max(0, self._forgotten() - place)
        for batch in self._batches(place, limit):
            if wanted.source not in (None, batch.source):
                place = batch.last
                looked_at += len(batch)
            else:
                for index, message in enumerate(batch.messages):
                    place = batch.first + index
                    looked_at += 1
                    if wanted.wants(batch, index):
                        events.append(batch.delivered(index))
                        size += size_of(message)
                        if len(events) >= limit or size >= MOST_BYTES:
                            return Page(events, place, missed)
            if looked_at >= MOST_LOOKED_AT:
                return Page(events, place, missed)
        return Page(events, self._inbox.last, missed)

    def _forgotten(self) -> int:
        """No message up to this number can be read any more."""
        first, history = self._inbox.memory.first, self._inbox.history
        if history is not None:
            return history.forgotten
        return self._inbox.last if first is None else first - 1

    def _batches(self, after: int, piece: int) -> Iterator[Batch]:
        """Everything behind `after`: the older part from the history, about `piece` messages at a time."""
        history, oldest = self._inbox.history, self._inbox.memory.first
        through = self._inbox.last if oldest is None else oldest - 1
        while history is not None and after < through:
            found = history.read(after, through, piece)
            if not found:
                break
            yield from found
            after = found[-1].last
        yield from self._inbox.memory.after(after)

    async def poll(self, after: int, wait: float, wanted: Filter | None = None, limit: int = MOST_EVENTS) -> Page:
        """The same, waiting up to `wait` seconds while there is nothing."""
        page = self.read(after, wanted, limit)
        loop = asyncio.get_running_loop()
        until, missed = loop.time() + wait, page.missed
        while not page.events and (left := until - loop.time()) > 0:
            if page.next >= self._inbox.last:
                try:
                    await asyncio.wait_for(self._inbox.wait(page.next), left)
                except TimeoutError:
                    break
            else:
                await asyncio.sleep(0)
            page = self.read(page.next, wanted, limit)
            missed += page.missed
        return page._replace(missed=missed)
