"""What the Edge Hub needs of the IoT Hub above it.

Rule: every question to the cloud takes a callback, which may be called at once, later, or with the news that the cloud
cannot be reached; the hub never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from gateway.hub.twin import TwinError


class TwinState(NamedTuple):
    """A twin at one moment; nobody may change the documents. `body` is the JSON a device gets for it."""

    desired: Mapping[str, Any]
    desired_version: int
    reported: Mapping[str, Any]
    reported_version: int
    body: bytes


class Command(Protocol):
    """A cloud-to-device message that was received and is locked until it is settled."""

    @property
    def lock_token(self) -> str:
        """Names the delivery when it is settled."""

    @property
    def body(self) -> bytes:
        """The payload."""

    @property
    def properties(self) -> Mapping[str, str]:
        """Application properties."""

    @property
    def system_properties(self) -> Mapping[str, str]:
        """System properties by their service names."""


class Cloud(Protocol):
    """IoT Hub as the Edge Hub sees it; ids are client ids, `device` or `device/module`."""

    def get_twin(self, client_id: str, answer: Callable[[TwinState | None], None]) -> None:
        """Read a twin; None when the cloud cannot be reached."""

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected, with the id of its model (IoT Plug and Play) if it named one."""

    def report(
        self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError | None], None]
    ) -> None:
        """Change reported properties.

        The answer is their new version, why the change is refused, or None when the cloud cannot be reached.
        """

    def receive(self, client_id: str) -> Command | None:
        """The next cloud-to-device message, locked; None when there is none, or no connection."""

    def complete(self, command: Command) -> None:
        """The device has the message."""

    def reject(self, command: Command) -> None:
        """Nobody listens: the message is dead."""

    def abandon(self, command: Command) -> None:
        """The delivery failed: the message goes back to its queue."""
