"""`/configurations`: automatic device management and IoT Edge deployments; and what sets the modules of one device.

Source: IoT Hub REST API, "Configuration".
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import done, reply
from gateway.upstream.rest.devices import READ, WRITE, IfMatch
from gateway.upstream.rest.modules import CREATED
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["configuration"])
Document = Annotated[dict[str, Any], Body()]
APPLY = needs(Permission.REGISTRY_WRITE, Permission.SERVICE_CONNECT)


@router.get("/configurations", dependencies=[READ])
async def list_configurations(asked: Asked, top: int | None = None) -> Response:
    """All configurations, `top` of them at most."""
    documents = asked.hub.management.configurations.documents()
    return reply(documents[:top] if top is not None and top > 0 else documents)


@router.post("/configurations/testQueries", dependencies=[READ])
async def try_queries(asked: Asked, body: Document) -> Response:
    """What is wrong with a target condition and with metric queries; the answer is 200 in any case."""
    return reply(asked.hub.management.configurations.test(body))


@router.get("/configurations/{config_id}", dependencies=[READ])
async def get_configuration(asked: Asked, config_id: str) -> Response:
    """One configuration, with what its metrics count now."""
    document = asked.hub.management.configurations.document(config_id)
    return reply(document, etag=document["etag"])


@router.put("/configurations/{config_id}", responses=CREATED, dependencies=[WRITE])
async def put_configuration(asked: Asked, config_id: str, body: Document, if_match: IfMatch = None) -> Response:
    """Create the configuration, or with If-Match update it; twins change at once."""
    configurations = asked.hub.management.configurations
    created = configurations.put(config_id, body, if_match)
    document = configurations.document(config_id)
    return reply(document, 201 if created else 200, etag=document["etag"])


@router.delete("/configurations/{config_id}", status_code=204, dependencies=[WRITE])
async def delete_configuration(asked: Asked, config_id: str, if_match: IfMatch = None) -> Response:
    """Delete the configuration; twins get what the next one says."""
    asked.hub.management.configurations.delete(config_id, if_match)
    return done()


@router.post("/devices/{device_id}/applyConfigurationContent", status_code=204, dependencies=[APPLY])
async def apply_content(asked: Asked, device_id: str, body: Document) -> Response:
    """Set the modules of an edge device, $edgeAgent and $edgeHub among them."""
    asked.hub.management.deployments.apply_content(device_id, body)
    return done()
