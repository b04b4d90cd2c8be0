"""`/digitaltwins`: IoT Plug and Play devices by properties, components and commands.

Source: IoT Hub REST API, "Digital Twin" (the answer of a command is the body, its status a header).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Body as JsonBody

from gateway.upstream.digitaltwins import command_name
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.devices import IfMatch
from gateway.upstream.rest.identities import Body
from gateway.upstream.rest.methods import MethodBody, call, payload_of
from gateway.upstream.rest.service import Asked, Service, needs

router = APIRouter(tags=["digital twin"])
CONNECT = needs(Permission.SERVICE_CONNECT)
Payload = Annotated[Any, JsonBody()]


class Timeouts(Body):
    """How long to wait for the device, and for its answer, in seconds."""

    connect_timeout_in_seconds: int | None = None
    response_timeout_in_seconds: int | None = None


Wait = Annotated[Timeouts, Query()]


@router.get("/digitaltwins/{twin_id}", dependencies=[CONNECT])
async def get_digital_twin(asked: Asked, twin_id: str) -> Response:
    """The digital twin of a device."""
    document, etag = asked.hub.management.digital_twins.document(twin_id)
    return reply(document, etag=etag)


@router.patch("/digitaltwins/{twin_id}", status_code=202, dependencies=[CONNECT])
async def patch_digital_twin(
    asked: Asked, request: Request, twin_id: str, body: Payload, if_match: IfMatch = None
) -> Response:
    """Set desired values by a JSON Patch."""
    etag = asked.hub.management.digital_twins.update(twin_id, body, if_match)
    location = str(request.url).partition("?")[0]
    return Response(status_code=202, headers={"ETag": f'"{etag}"', "Location": location})


@router.post("/digitaltwins/{twin_id}/commands/{command}", dependencies=[CONNECT])
async def invoke_command(asked: Asked, twin_id: str, command: str, body: Payload = None, *, wait: Wait) -> Response:
    """Call a command of the device itself."""
    return await _invoke(asked, twin_id, command_name(command), body, wait)


@router.post("/digitaltwins/{twin_id}/components/{component}/commands/{command}", dependencies=[CONNECT])
async def invoke_component_command(
    asked: Asked, twin_id: str, component: str, command: str, body: Payload = None, *, wait: Wait
) -> Response:
    """Call a command of one of its components."""
    return await _invoke(asked, twin_id, command_name(command, component), body, wait)


async def _invoke(asked: Service, twin_id: str, name: str, payload: Any, wait: Timeouts) -> Response:
    asked.hub.management.digital_twins.check(twin_id)
    body = MethodBody(
        method_name=name,
        payload=payload,
        response_timeout_in_seconds=wait.response_timeout_in_seconds,
        connect_timeout_in_seconds=wait.connect_timeout_in_seconds,
    )
    result = await call(asked, body, twin_id)
    return reply(payload_of(result), headers={"x-ms-command-statuscode": str(result.status or 0)})
