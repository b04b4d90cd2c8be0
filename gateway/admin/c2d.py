"""`/c2d`: cloud-to-device messages without AMQP."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.problems import RefusedError, responses
from gateway.backend import BackEnd

Value = str | int | float | bool


class C2dMessage(BaseModel):
    """A message to a device."""

    model_config = ConfigDict(extra="forbid")

    deviceId: str
    payload: Any = Field(description="text is sent as it is, anything else as JSON")
    payloadEncoding: Literal["utf-8", "base64"] = Field(
        default="utf-8", description="base64: the text is decoded to bytes"
    )
    properties: dict[str, Value] = {}
    systemProperties: dict[str, Value] = Field(
        default={},
        description="message-id, correlation-id, content-type, iothub-ack, absolute-expiry-time, ...",
    )


class Queued(BaseModel):
    """The message waits for its device."""

    deviceId: str
    messageId: str | None
    expires: datetime
    waiting: int = Field(description="messages that the device has now, this one included")


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["c2d"])

    @routes.post("/c2d", status_code=202, responses=responses(400, 403, 404, 413))
    async def send(message: C2dMessage) -> Queued:
        """Queue a message as IoT Hub does: 404 for a device that is not registered, 403 when its queue is full."""
        if message.deviceId not in gateway.registry:
            hint = "`leafgate up --leaf ID` registers devices, and so does the service API"
            raise RefusedError(404, f"device {message.deviceId!r} is not registered", hint)
        commands = gateway.upstream.commands
        # Numbers and booleans are made text there, and everything else about the message is judged there.
        properties: dict[str, Any] = dict(message.properties)
        system: dict[str, Any] = dict(message.systemProperties)
        command = commands.send(message.deviceId, _body(message), properties, system)
        return Queued(
            deviceId=command.device_id,
            messageId=command.message_id or None,
            expires=datetime.fromtimestamp(command.expires, UTC),
            waiting=commands.depth(command.device_id),
        )

    return routes


def _body(message: C2dMessage) -> bytes:
    if message.payloadEncoding == "base64":
        try:
            return base64.b64decode(message.payload, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise RefusedError(400, "payload is no base64", "leave payloadEncoding out to send text") from None
    text = message.payload if isinstance(message.payload, str) else json.dumps(message.payload, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "payload has half a surrogate pair in it", "send bytes in base64") from None
