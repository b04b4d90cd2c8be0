"""`/twins/{device}[/modules/{module}]/methods`: direct methods.

Sources: IoT Hub documentation, "Understand and invoke direct methods from IoT Hub" (timeouts, sizes) and "Troubleshoot
Azure IoT Hub error codes" (404103, 504101); azure-iot-sdk-csharp issue 317 and azure-iot-sdk-java issue 329 (404001).
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Response

from gateway.errors import HubCode, RegistryError
from gateway.hub.methods import MethodResult
from gateway.upstream.calls import method_call
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import MethodFailedError, reply
from gateway.upstream.rest.identities import Body
from gateway.upstream.rest.service import Asked, Service, needs

router = APIRouter(tags=["methods"], dependencies=[needs(Permission.SERVICE_CONNECT)])


class MethodBody(Body):
    """A call; timeouts are seconds. Without a payload the device gets `null`."""

    method_name: str
    payload: Any = None
    response_timeout_in_seconds: int | None = None
    connect_timeout_in_seconds: int | None = None


@router.post("/twins/{device_id}/methods")
async def invoke_device_method(asked: Asked, device_id: str, body: MethodBody) -> Response:
    """Call a method of a device and wait for its answer."""
    return await invoke(asked, body, device_id)


@router.post("/twins/{device_id}/modules/{module_id}/methods")
async def invoke_module_method(asked: Asked, device_id: str, module_id: str, body: MethodBody) -> Response:
    """Call a method of a module and wait for its answer."""
    return await invoke(asked, body, device_id, module_id)


async def invoke(asked: Service, body: MethodBody, device_id: str, module_id: str | None = None) -> Response:
    """What becomes of a call, as it is answered. Raises GatewayError."""
    result = await call(asked, body, device_id, module_id)
    return reply({"status": result.status or 0, "payload": payload_of(result)})


async def call(asked: Service, body: MethodBody, device_id: str, module_id: str | None = None) -> MethodResult:
    """What the client answers. Raises GatewayError for what IoT Hub would not send, and when nobody answers."""
    response = 30 if body.response_timeout_in_seconds is None else body.response_timeout_in_seconds
    connect = body.connect_timeout_in_seconds or 0
    try:
        client_id = asked.hub.registry.known(device_id, module_id).client_id
    except RegistryError as wrong:
        raise MethodFailedError(wrong.code, "The device or module is not registered.", {}) from None
    result = await asked.hub.invoke(method_call(client_id, body.method_name, body.payload, response, connect))
    if result.http_status == HubCode.DeviceNotOnline.status:
        timeout = {"timeout": f"00:{connect // 60:02d}:{connect % 60:02d}"}
        raise MethodFailedError(HubCode.DeviceNotOnline, "Timed out waiting for device to connect.", timeout)
    if result.http_status != 200:
        raise MethodFailedError(HubCode.GatewayTimeout, "Timed out waiting for the response from device.", {})
    return result


def payload_of(result: MethodResult) -> Any:
    """What the client has answered; what is no JSON, which IoT Hub could not pass on, is told as text."""
    try:
        return json.loads(result.payload) if result.payload else None
    except (ValueError, RecursionError):
        return result.payload.decode(errors="replace")
