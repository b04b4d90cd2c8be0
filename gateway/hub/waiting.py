"""Callbacks that wait for an answer from the cloud, each for its own time at most.

Rule: each callback is called exactly once: when what it waits for has come, or when its time is up.
"""

from __future__ import annotations

from collections.abc import Callable


class Waiting:
    """Callbacks with the hour at which they give up (seconds since 1970 UTC)."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: list[tuple[float, Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, until: float, done: Callable[[], None]) -> None:
        """Call `done` with the next `release`, or with the first `expire` that is not before `until`."""
        self._callbacks.append((until, done))

    def release(self) -> None:
        """It has come: call everybody."""
        callbacks, self._callbacks = self._callbacks, []
        for _, done in callbacks:
            done()

    def expire(self, now: float) -> None:
        """Call those whose time is up."""
        if any(until <= now for until, _ in self._callbacks):
            over = [done for until, done in self._callbacks if until <= now]
            self._callbacks = [each for each in self._callbacks if each[0] > now]
            for done in over:
                done()
