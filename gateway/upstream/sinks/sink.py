"""What a sink is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Protocol

from gateway.errors import StoreError
from gateway.upstream.arrivals import Batch


class SinkError(StoreError):
    """A sink cannot be made or opened, or does not take messages."""


class Sink(Protocol):
    """Takes every message that arrives at IoT Hub; all calls come from the gateway's event loop."""

    def open(self) -> None:
        """Get ready. Raises StoreError; then the gateway does not start."""

    def take(self, batch: Batch) -> Awaitable[None] | None:
        """Take messages; batches come in the order of their numbers.

        Whoever returns None has them for good; an answer that has to be waited for has them when it is done. Raises
        StoreError (at once, or when waited for): then the gateway sends the same messages again, later and with other
        numbers.
        """

    def close(self) -> None:
        """Let go of everything; `open` may be called again."""


class History(ABC):
    """A sink from which what it has taken can be read again.

    It may keep what it has taken in memory until `flush`, which is called before the gateway's own store lets go.
    """

    @abstractmethod
    def open(self) -> None:
        """See Sink."""

    @abstractmethod
    def take(self, batch: Batch) -> None:
        """See Sink."""

    @abstractmethod
    def close(self) -> None:
        """See Sink."""

    @abstractmethod
    def flush(self) -> None:
        """Return once everything that was taken outlives the process. Raises StoreError."""

    @property
    @abstractmethod
    def forgotten(self) -> int:
        """No message up to this number is kept any more; 0 when none had to go."""

    @property
    @abstractmethod
    def last(self) -> int:
        """No number above this one has ever been given; 0 before the first."""

    @abstractmethod
    def read(self, after: int, through: int, limit: int) -> list[Batch]:
        """Batches with numbers above `after` up to `through`, and no more once there are `limit` messages.

        Raises StoreError.
        """

    @abstractmethod
    def forget(self) -> None:
        """Drop everything but the number. Raises StoreError."""
