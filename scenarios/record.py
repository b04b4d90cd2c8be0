"""What the gateway noticed while a scenario played: its events and its log lines, and waiting for one of them.

Nothing is polled and nothing sleeps: each event or line wakes whoever waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from gateway.events import (
    ClientConnected,
    ClientDisconnected,
    ConnectionRefused,
    Event,
    HandshakeFailed,
    HubExited,
    HubStarted,
    MessageDropped,
)

if TYPE_CHECKING:
    from scenarios.timeline import Timeline

Refusal = HandshakeFailed | ConnectionRefused
Found = TypeVar("Found")


class Record:
    """The events and log lines of one gateway, since it was attached."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.events: list[Event] = []
        self.lines: list[str] = []
        self.logger = _private_logger(self)

    def see(self, event: Event) -> None:
        """Take an event (the gateway calls this on the loop)."""
        self.events.append(event)
        self._timeline.add("gateway", describe(event))
        self._changed.set()

    def hear(self, line: str) -> None:
        """Take a log line, from whichever thread."""
        self.lines.append(line)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def wait(self, find: Callable[[], Found | None], timeout: float) -> Found | None:  # noqa: ASYNC109
        """What `find` finds, looked for again whenever something happens; None after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while (found := find()) is None:
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            return find()

    async def refusal(self, since: int, timeout: float) -> Refusal | None:  # noqa: ASYNC109
        """The first refusal among the events from number `since` on."""

        def find() -> Refusal | None:
            return next((event for event in self.events[since:] if isinstance(event, Refusal)), None)

        return await self.wait(find, timeout)


class _Handler(logging.Handler):
    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        self._record.hear(record.getMessage())


def _private_logger(record: Record) -> logging.Logger:
    # Not from logging.getLogger: it would live as long as the process, and several scenarios play at once.
    logger = logging.Logger("leafgate.scenario", logging.INFO)
    logger.addHandler(_Handler(record))
    return logger


def describe(event: Event) -> str:
    """The event in a few words."""
    match event:
        case HandshakeFailed(alert=None):
            return f"TLS ended: {event.reason}"
        case HandshakeFailed(sent_by="gateway"):
            return f"sent alert {event.alert} to {address(event)}: {event.reason}"
        case HandshakeFailed():
            return f"alert {event.alert} from {address(event)}"
        case ConnectionRefused(code=None):
            return f"turned {event.client_id or address(event)} away without CONNACK: {event.reason}"
        case ConnectionRefused():
            return f"CONNACK {event.code} to {event.client_id or address(event)}: {event.reason}"
        case ClientConnected():
            return f"{event.client_id} connected ({event.tls_version})"
        case ClientDisconnected():
            return f"{event.client_id} disconnected: {event.reason}"
        case MessageDropped():
            return f"dropped a message of {event.client_id} to {event.topic}: {event.reason}"
        case HubExited():
            return f"Edge Hub exited: {event.reason}"
        case HubStarted():
            return f"Edge Hub started, with a server certificate until {moment(event.expires)}"
    return type(event).__name__


def moment(seconds: float) -> str:
    """A time for a reader."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def address(event: Event) -> str:
    """The peer without its port, which says nothing to a reader."""
    return event.peer.rpartition(":")[0] or event.peer
