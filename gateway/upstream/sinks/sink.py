"""What a sink is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.errors import StoreError
from gateway.upstream.arrivals import Batch


class SinkError(StoreError):
    """A sink cannot be made or opened, or does not take messages."""


class Sink(Protocol):
    """Takes every message that arrives at IoT Hub; all calls come from the gateway's event loop."""

    def open(self) -> None:
        """Get ready. Raises StoreError; then the gateway does not start."""

    def take(self, batches: Sequence[Batch]) -> Awaitable[None] | None:
        """Take batches, in the order of their numbers.

        Whoever returns None has them for good; an answer that has to be waited for has them when it is done. The
        gateway forgets a message only after every sink has it. Raises StoreError (at once, or when waited for): then
        the gateway sends the same messages again, later and with other numbers.
        """

    def close(self) -> None:
        """Let go of everything; `open` may be called again."""


class History(ABC):
    """A sink from which what it has taken can be read again."""

    @abstractmethod
    def open(self) -> None:
        """See Sink."""

    @abstractmethod
    def take(self, batches: Sequence[Batch]) -> None:
        """See Sink."""

    @abstractmethod
    def close(self) -> None:
        """See Sink."""

    @property
    @abstractmethod
    def last(self) -> int:
        """The highest number it has ever taken; 0 before the first."""

    @abstractmethod
    def read(self, after: int, through: int, limit: int) -> list[Batch]:
        """Batches with numbers above `after` up to `through`, and no more once there are `limit` messages.

        Raises StoreError.
        """

    @abstractmethod
    def forget(self) -> None:
        """Drop everything but the number. Raises StoreError."""
