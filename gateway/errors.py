"""What can go wrong in the gateway, said so that a person knows what to do next.

Each error carries a message, a hint and the exit code that the command line gives it.
"""

from __future__ import annotations

from enum import IntEnum


class HubCode(IntEnum):
    """IoT Hub's errors by its own names and numbers (ErrorCode.cs of Azure/azure-iot-sdk-csharp)."""

    InvalidOperation = 400_003
    ArgumentInvalid = 400_004
    ArgumentNull = 400_005
    DeserializationError = 400_012
    IotHubUnauthorizedAccess = 401_002
    IotHubQuotaExceeded = 403_002
    DeviceMaximumQueueDepthExceeded = 403_004
    DeviceNotFound = 404_001
    ModuleNotFound = 404_010
    DeviceNotOnline = 404_103
    DeviceAlreadyExists = 409_001
    ModuleAlreadyExistsOnDevice = 409_301
    PreconditionFailed = 412_001
    DeviceMessageLockLost = 412_002
    MessageTooLarge = 413_001
    TooManyDevices = 413_002
    TooManyModulesOnDevice = 413_003
    ThrottlingException = 429_001
    ServerError = 500_001
    GatewayTimeout = 504_101

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return int(self) // 1_000


class GatewayError(Exception):
    """Base of all errors of this package; `exit_code` 3 means the gateway could not start or go on."""

    exit_code = 3

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class PortError(GatewayError):
    """A listener could not be bound."""

    def __init__(self, address: str, port: int, reason: str, hint: str) -> None:
        self.address = address
        self.port = port
        super().__init__(f"cannot listen on {address}:{port}: {reason}", hint)


class CertificateError(GatewayError):
    """The chain or its key cannot be served."""


class StoreError(GatewayError):
    """Messages cannot be stored; none of them has been acknowledged."""


class RegistryError(GatewayError):
    """A device or module cannot be registered as asked; `status` and `code` are what IoT Hub would answer."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None, code: HubCode = HubCode.ArgumentInvalid) -> None:
        self.code = code
        self.status = code.status
        super().__init__(message, hint)


class TwinRefusedError(GatewayError):
    """IoT Hub does not take a change of a twin; `status` and `code` are what its REST API would answer."""

    exit_code = 2

    def __init__(
        self, status: int, message: str, hint: str | None = None, code: HubCode = HubCode.ArgumentInvalid
    ) -> None:
        self.status = status
        self.code = code
        super().__init__(message, hint)


class CommandRefusedError(GatewayError):
    """IoT Hub does not take a cloud-to-device message, or its settlement; `status` is what its REST API would answer.

    `code` is IoT Hub's own number for the reason (403004: the queue is full).
    """

    exit_code = 2

    def __init__(self, status: int, code: int, message: str, hint: str | None = None) -> None:
        self.status = status
        self.code = code
        super().__init__(message, hint)


class ServiceError(GatewayError):
    """IoT Hub refuses a call of its service API.

    `status` is the HTTP status; `code` the name that its error body begins with ("DeviceNotFound").
    """

    exit_code = 2

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        self.status = status
        self.code = code
        super().__init__(message, hint)
