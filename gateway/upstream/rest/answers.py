"""Answers in IoT Hub's shapes, errors among them.

Rule: every error of this API is made here. Its body is IoT Hub's `Message` and `ExceptionMessage`, whose text begins
with a name of ErrorCode.cs that the header `iothub-errorcode` repeats; no text of a library and no traceback gets out.
Sources: ExceptionHandlingHelper.cs, ErrorCode.cs and ExceptionHandlingHelperTests.cs of Azure/azure-iot-sdk-csharp,
rest_api_client.ts of Azure/azure-iot-sdk-node (what SDKs read out of them).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Response

from gateway.errors import (
    CommandRefusedError,
    GatewayError,
    HubCode,
    RegistryError,
    ServiceError,
    StoreError,
    TwinRefusedError,
)

JSON = "application/json; charset=utf-8"


class MethodFailedError(ServiceError):
    """A direct method that no device has answered: IoT Hub puts JSON of its own into the message."""

    def __init__(self, code: HubCode, message: str, info: Mapping[str, Any]) -> None:
        self.number = int(code)
        self.info = info
        super().__init__(code.status, code.name, message)


def reply(
    document: Any, status: int = 200, *, etag: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON; an ETag goes into its header in quotes."""
    extra = dict(headers or {}) | ({} if etag is None else {"ETag": f'"{etag}"'})
    # ASCII, so that half a surrogate pair that came in can go out
    return Response(json.dumps(document, separators=(",", ":")), status, headers=extra, media_type=JSON)


def done() -> Response:
    """204: there is nothing to say."""
    return Response(status_code=204)


def refusal(wrong: GatewayError, now: float) -> Response:
    """The answer to a call that IoT Hub refuses."""
    status, code = _status(wrong)
    tracking = f"{uuid.uuid4().hex}-G:0-TimeStamp:{datetime.fromtimestamp(now, UTC):%m/%d/%Y %H:%M:%S}"
    headers = {"iothub-errorcode": code}
    if status == 401:
        headers["WWW-Authenticate"] = "SharedAccessSignature"
    return reply(_body(wrong, code, tracking, now), status, headers=headers)


def _status(wrong: GatewayError) -> tuple[int, str]:
    match wrong:
        case ServiceError():
            return wrong.status, wrong.code
        case RegistryError() | TwinRefusedError():
            return wrong.status, wrong.code.name
        case CommandRefusedError():
            return wrong.status, HubCode(wrong.code).name
        case StoreError():
            return HubCode.ServerError.status, HubCode.ServerError.name
        case _:
            return HubCode.ArgumentInvalid.status, HubCode.ArgumentInvalid.name


def _body(wrong: GatewayError, code: str, tracking: str, now: float) -> dict[str, Any]:
    text = wrong.message
    when = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(wrong, MethodFailedError):
        inner = {"errorCode": wrong.number, "trackingId": tracking, "message": text, "info": wrong.info}
        return {"Message": json.dumps(inner | {"timestampUtc": when}), "ExceptionMessage": ""}
    if code == HubCode.ModuleAlreadyExistsOnDevice.name:  # modules are another service, with another shape
        return {"errorCode": int(HubCode[code]), "message": text, "trackingId": tracking, "timestampUtc": when}
    if wrong.hint and not isinstance(wrong, ServiceError):
        text = f"{text}; {wrong.hint}"
    return {"Message": f"ErrorCode:{code};{text}", "ExceptionMessage": f"Tracking ID:{tracking}"}
