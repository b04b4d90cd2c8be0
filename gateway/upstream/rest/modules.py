"""`/devices/{device}/modules`: the modules of a device in the identity registry."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from gateway.errors import HubCode, RegistryError
from gateway.upstream.rest.answers import done, reply
from gateway.upstream.rest.devices import READ, WRITE, IfMatch
from gateway.upstream.rest.identities import ModuleBody, document_of, module_of
from gateway.upstream.rest.service import Asked

router = APIRouter(tags=["modules"])
CREATED: dict[int | str, dict[str, Any]] = {201: {"description": "It is new"}}
_MOST = 50  # modules of a device ("IoT Hub quotas and throttling"); the edge device's $edgeAgent and $edgeHub count


@router.get("/devices/{device_id}/modules", dependencies=[READ])
async def list_modules(asked: Asked, device_id: str) -> Response:
    """The modules of a device, in the order of registration."""
    asked.hub.registry.known(device_id)
    return reply([document_of(asked, module) for module in asked.hub.registry.modules(device_id)])


@router.get("/devices/{device_id}/modules/{module_id}", dependencies=[READ])
async def get_module(asked: Asked, device_id: str, module_id: str) -> Response:
    """One module, with its keys."""
    module = asked.hub.registry.known(device_id, module_id)
    return reply(document_of(asked, module), etag=module.etag)


@router.put("/devices/{device_id}/modules/{module_id}", responses=CREATED, dependencies=[WRITE])
async def put_module(
    asked: Asked, device_id: str, module_id: str, body: ModuleBody, if_match: IfMatch = None
) -> Response:
    """Create the module (201), or with If-Match update it; keys that are missing are made."""
    registry = asked.hub.registry
    if if_match is None:
        if device_id in registry and len(registry.modules(device_id)) >= _MOST:
            code = HubCode.TooManyModulesOnDevice
            raise RegistryError(f"{device_id!r} has {_MOST} modules, which is the most", code=code)
        module = registry.add(module_of(body, device_id, module_id, registry))
    else:
        registry.known(device_id, module_id)
        module = registry.update(module_of(body, device_id, module_id, registry), etag=if_match)
    return reply(document_of(asked, module), 201 if if_match is None else 200, etag=module.etag)


@router.delete("/devices/{device_id}/modules/{module_id}", status_code=204, dependencies=[WRITE])
async def delete_module(asked: Asked, device_id: str, module_id: str, if_match: IfMatch = None) -> Response:
    """Delete the module and its twin."""
    asked.hub.remove(device_id, module_id, etag=if_match)
    return done()
