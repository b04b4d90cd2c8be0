"""What the Edge Hub needs of the IoT Hub above it.

Rule: every question to the cloud takes a callback, which may be called at once, later, or with the news that the cloud
cannot be reached; the hub never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from gateway.hub.twin import SERVER_ERROR, TwinError

THROTTLING = 429_001
QUOTA_EXCEEDED = 403_002
UNAUTHORIZED = 401_003


class Failure(StrEnum):
    """Why an operation at the cloud has failed, in the words of the device SDK's exceptions."""

    UNREACHABLE = "IotHubCommunicationException"
    TIMED_OUT = "TimeoutException"
    THROTTLED = "IotHubThrottledException"
    QUOTA = "QuotaExceededException"
    UNAUTHORIZED = "UnauthorizedException"


class CloudError(TwinError):
    """The cloud has not done what it was asked for, and may do it when it is asked again."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(*_SAID[failure])


_SAID = {
    Failure.UNREACHABLE: (500, SERVER_ERROR, "the cloud cannot be reached"),
    Failure.TIMED_OUT: (500, SERVER_ERROR, "the cloud did not answer in time"),
    Failure.THROTTLED: (429, THROTTLING, "IoT Hub throttles the request"),
    Failure.QUOTA: (403, QUOTA_EXCEEDED, "the day's quota of messages is exceeded"),
    Failure.UNAUTHORIZED: (401, UNAUTHORIZED, "IoT Hub does not accept the device"),
}


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

    def get_twin(self, client_id: str, answer: Callable[[TwinState | CloudError], None]) -> None:
        """Read a twin."""

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected, with the id of its model (IoT Plug and Play) if it named one."""

    def report(self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError], None]) -> None:
        """Change reported properties.

        The answer is their new version, or why the change was not made: a CloudError may pass.
        """

    def receive(self, client_id: str) -> Command | None:
        """The next cloud-to-device message, locked; None when there is none, or no connection."""

    def complete(self, command: Command) -> None:
        """The device has the message."""

    def reject(self, command: Command) -> None:
        """Nobody listens: the message is dead."""

    def abandon(self, command: Command) -> None:
        """The delivery failed: the message goes back to its queue."""
