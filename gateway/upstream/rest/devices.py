"""`/devices`: the identity registry, one device at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway.upstream.content import EDGE_AGENT, EDGE_HUB
from gateway.upstream.device import Device
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import done, reply
from gateway.upstream.rest.identities import DeviceBody, device_of, document_of
from gateway.upstream.rest.service import Asked, Service, needs

router = APIRouter(tags=["devices"])
READ = needs(Permission.REGISTRY_READ, Permission.REGISTRY_WRITE)
WRITE = needs(Permission.REGISTRY_WRITE)
#: an ETag in quotes, or `"*"`, which both service SDKs send in quotes too
IfMatch = Annotated[str | None, Header(alias="If-Match")]
_MOST_LISTED = 1_000


@router.get("/devices", dependencies=[READ])
async def list_devices(asked: Asked, top: int = _MOST_LISTED) -> Response:
    """Devices in the order of registration; any `top` that is not 1 to 1000 means 1000."""
    most = top if 1 <= top <= _MOST_LISTED else _MOST_LISTED
    devices = [device for device in asked.hub.registry if device.module_id is None]
    return reply([document_of(asked, device) for device in devices[:most]])


@router.get("/devices/{device_id}", dependencies=[READ])
async def get_device(asked: Asked, device_id: str) -> Response:
    """One device, with its keys."""
    device = asked.hub.registry.known(device_id)
    return reply(document_of(asked, device), etag=device.etag)


@router.put("/devices/{device_id}", dependencies=[WRITE])
async def put_device(asked: Asked, device_id: str, body: DeviceBody, if_match: IfMatch = None) -> Response:
    """Create the device, or with If-Match update it; keys that are missing are made."""
    registry = asked.hub.registry
    if if_match is None:
        device = create(asked, device_of(body, device_id, registry))
    else:
        registry.known(device_id)
        device = registry.update(device_of(body, device_id, registry), etag=if_match)
    return reply(document_of(asked, device), etag=device.etag)


@router.delete("/devices/{device_id}", status_code=204, dependencies=[WRITE])
async def delete_device(asked: Asked, device_id: str, if_match: IfMatch = None) -> Response:
    """Delete the device with its modules, its twins and what waits for it."""
    asked.hub.remove(device_id, etag=if_match)
    return done()


def create(service: Service, device: Device) -> Device:
    """Register a device, and with an edge device the modules that IoT Hub makes with it. Raises RegistryError."""
    created = service.hub.registry.add(device)
    for name in (EDGE_AGENT, EDGE_HUB) if created.edge else ():
        service.hub.registry.add(Device(created.device_id, name, managed_by="iotEdge"))
    return created
