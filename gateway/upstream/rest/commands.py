"""`/devices/{device}/commands`: what waits for a device."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["cloud-to-device"], dependencies=[needs(Permission.SERVICE_CONNECT)])


@router.delete("/devices/{device_id}/commands")
async def purge(asked: Asked, device_id: str) -> Response:
    """Drop the cloud-to-device messages that wait for the device, and tell how many those were."""
    asked.hub.registry.known(device_id)
    purged = asked.hub.commands.purge(device_id)
    return reply({"totalMessagesPurged": purged, "deviceId": device_id, "moduleId": None})
