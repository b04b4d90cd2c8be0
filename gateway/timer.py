"""A timer of the product's kind: it counts the time that passes, and does not notice when the clock is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.clock import Clock


class Timer:
    """Calls `ring` once, on the event loop, when it was set for has passed; it can be set again."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, and not when it was set for before."""
        self._due = self._clock.running() + seconds
        self._wait(seconds)

    def cancel(self) -> None:
        """Do not ring."""
        self._due = None
        self._stop()

    def check(self) -> None:
        """Ring if it is time; to be called after time was made to pass."""
        if self._due is None:
            return
        left = self._due - self._clock.running()
        if left > 0:
            self._wait(left)
            return
        self.cancel()
        self._ring()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._handle = asyncio.get_running_loop().call_later(seconds, self.check)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
