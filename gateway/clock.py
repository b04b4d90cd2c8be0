"""Time, injected.

Rules: whatever decides by the hour of day asks `now` (token expiry, time to live); whatever watches that a peer is
alive asks `monotonic` (keep-alive, CONNECT deadline). Travelling in time moves the first and leaves connections alone.
Whoever travels takes the leaves along, so that certificates are older for them, too, by what `passed` says; a clock
that is set alone (`step`) is wrong, or right, against everybody else's.
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

    def running(self) -> float:
        """Seconds since some start, for timers: they count time that is made to pass, and not that a clock is set."""

    def passed(self) -> float:
        """Seconds that time was moved on for everybody: leaves' clocks are that much ahead of the machine's."""

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

    def running(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    def passed(self) -> float:
        """Nobody moves this clock."""
        return 0.0

    def subscribe(self, moved: Callable[[], None]) -> Callable[[], None]:
        """This clock is never set, so `moved` is never called."""
        return lambda: None


class ManualClock:
    """A clock that stands until it is moved; it starts at the machine's time unless told otherwise.

    `advance` moves the hour of day, for everybody; `elapse` lets time pass for connections as well; `step` sets this
    clock alone.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._monotonic = 0.0
        self._passed = 0.0
        self._observers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that have elapsed since this clock was made."""
        return self._monotonic

    def running(self) -> float:
        """Seconds that have passed since this clock was made."""
        return self._passed

    def passed(self) -> float:
        """Seconds that this clock was moved for everybody."""
        return self._passed

    def subscribe(self, moved: Callable[[], None]) -> Callable[[], None]:
        """Call `moved` after each move; the answer ends that."""
        self._observers.append(moved)
        return lambda: self._observers.remove(moved)

    def advance(self, seconds: float) -> None:
        """Move the hour of day for everybody; connections notice nothing.

        Raises what an observer raises, a chain that cannot be dated anew say; then it is as late as before.
        """
        self._passed += seconds
        try:
            self.step(seconds)
        except BaseException:
            self._passed -= seconds
            self._now -= seconds
            raise

    def step(self, seconds: float) -> None:
        """Set this clock alone, as NTP does: neither leaves nor timers notice."""
        self._now += seconds
        self._tell()

    def elapse(self, seconds: float) -> None:
        """Let time pass for everything, keep-alive included."""
        self._monotonic += seconds
        self.advance(seconds)

    def _tell(self) -> None:
        for moved in tuple(self._observers):
            moved()


class MovableClock(ManualClock):
    """The machine's time, which goes on, plus what was added; timers of connections keep running by the machine's."""

    def __init__(self) -> None:
        super().__init__(start=0.0)

    def now(self) -> float:
        """Seconds since 1970 UTC, as the gateway believes."""
        return time.time() + super().now()

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock, with what has elapsed by hand."""
        return time.monotonic() + super().monotonic()

    def running(self) -> float:
        """Seconds of the machine's monotonic clock, with what was made to pass."""
        return time.monotonic() + super().running()

    @property
    def offset(self) -> float:
        """Seconds by which it is ahead of the machine's."""
        return super().now()
