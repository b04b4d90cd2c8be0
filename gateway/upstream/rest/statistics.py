"""`/statistics`: how many devices there are, and how many are connected."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.devices import READ
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["statistics"])
_EITHER = needs(Permission.REGISTRY_READ, Permission.REGISTRY_WRITE, Permission.SERVICE_CONNECT)


@router.get("/statistics/devices", dependencies=[READ])
async def registry_statistics(asked: Asked) -> Response:
    """Devices in the registry."""
    devices = [device for device in asked.hub.registry if device.module_id is None]
    enabled = sum(device.enabled for device in devices)
    counts = {"totalDeviceCount": len(devices), "enabledDeviceCount": enabled}
    return reply(counts | {"disabledDeviceCount": len(devices) - enabled})


@router.get("/statistics/service", dependencies=[_EITHER])
async def service_statistics(asked: Asked) -> Response:
    """Devices that are connected."""
    devices = (device.client_id for device in asked.hub.registry if device.module_id is None)
    return reply({"connectedDeviceCount": sum(map(asked.hub.uplink.is_connected, devices))})
