"""Time, injected.

Rule: whatever decides by the hour of day asks `now` (token expiry, time to live); whatever watches that a peer is alive
asks `monotonic` (keep-alive, CONNECT deadline). Travelling in time moves the first and leaves connections alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Where the gateway takes its time from."""

    def now(self) -> float:
        """Seconds since 1970 UTC, for the hub's decisions."""

    def monotonic(self) -> float:
        """Seconds since some start, for timers that watch a connection."""

    def subscribe(self, moved: Callable[[], None]) -> Callable[[], None]:
        """Call `moved` whenever the clock is set by hand; the answer ends that."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    def subscribe(self, moved: Callable[[], None]) -> Callable[[], None]:
        """This clock is never set, so `moved` is never called."""
        return lambda: None


class ManualClock:
    """A clock that stands until it is moved.

    `advance` moves the hour of day alone; `elapse` lets time pass for connections as well.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0
        self._observers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that have elapsed since this clock was made."""
        return self._monotonic

    def subscribe(self, moved: Callable[[], None]) -> Callable[[], None]:
        """Call `moved` after each move; the answer ends that."""
        self._observers.append(moved)
        return lambda: self._observers.remove(moved)

    def advance(self, seconds: float) -> None:
        """Move the hour of day; connections notice nothing."""
        self._now += seconds
        self._tell()

    def elapse(self, seconds: float) -> None:
        """Let time pass for everything, keep-alive included."""
        self._monotonic += seconds
        self.advance(seconds)

    def _tell(self) -> None:
        for moved in tuple(self._observers):
            moved()
