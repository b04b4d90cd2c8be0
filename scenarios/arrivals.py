"""What arrived upstream in one scenario, and whether it is what was expected."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from gateway import Delivered, Inbox
from scenarios.expectations import Arrived

Identity = tuple[str, str | None]


class Arrivals:
    """The messages of one gateway's inbox, each taken out of it once."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._taken: list[Delivered] = []

    async def wait(self, count: int, sender: Identity | None, timeout: float) -> list[Delivered]:  # noqa: ASYNC109
        """Wait until `count` messages (of `sender`) are there, or time is up; then everything that is there."""
        missing = count - len(self._of(sender))
        try:
            async with asyncio.timeout(timeout):
                while missing > 0:
                    self._taken.append(await self._inbox.next_message())
                    missing -= sender in (None, _identity(self._taken[-1]))
        except TimeoutError:
            return self._of(sender)
        self._taken.extend(iter(self._inbox.take, None))
        return self._of(sender)

    def _of(self, sender: Identity | None) -> list[Delivered]:
        return [message for message in self._taken if sender in (None, _identity(message))]


def _identity(message: Delivered) -> Identity:
    return message.device_id, message.module_id


def difference(expected: Arrived, found: list[Delivered], sent: list[list[str]]) -> str:
    """How `found` differs from what is expected; nothing when it does not. `sent` has each leaf's message ids."""
    if len(found) != expected.count:
        return f"{len(found)} arrived"
    for message in found:
        if expected.body is not None and expected.body not in (readable(message), _text(message)):
            return f"body {readable(message)!r}"
        if any(message.properties.get(name) != value for name, value in (expected.properties or {}).items()):
            return f"properties {dict(message.properties)}"
    ids = [message.system_properties.get("message-id", "") for message in found]
    again = sum(count - 1 for count in Counter(ids).values())
    if expected.duplicates is not None and again != expected.duplicates:
        return f"{again} duplicates"
    return f"another order: {', '.join(ids)}" if expected.order and not in_order(ids, sent) else ""


def in_order(ids: list[str], sent: list[list[str]]) -> bool:
    """Whether each leaf's messages came in the order in which it sent them; between leaves there is no order."""
    for mine in sent:
        places = {name: place for place, name in enumerate(mine)}
        came = [places[name] for name in ids if name in places]
        if came != sorted(came):
            return False
    return True


def readable(message: Delivered) -> Any:
    """The body as JSON where it is JSON, else as text."""
    try:
        return message.json()
    except ValueError:
        return _text(message)


def _text(message: Delivered) -> str:
    return message.body.decode("utf-8", "backslashreplace")
