"""`/twins`: tags, desired and reported properties of devices and modules.

Rule: null deletes, in a tag, in a property, or a whole section. What IoT Hub adds to a twin when it is read
(`$metadata`, `$version`, the reported properties and the identity's facts) may be sent back and means nothing.
Source: IoT Hub documentation, "Understand and use device twins in IoT Hub" (back-end operations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from gateway.upstream.documents import twin_document
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.devices import IfMatch
from gateway.upstream.rest.identities import Body
from gateway.upstream.rest.service import Asked, Service, needs
from gateway.upstream.twins import UNCHANGED, Change

router = APIRouter(tags=["twins"], dependencies=[needs(Permission.SERVICE_CONNECT)])
_DEVICE, _MODULE = "/twins/{device_id}", "/twins/{device_id}/modules/{module_id}"
_ADDED = ("$metadata", "$version")


class PropertiesBody(Body):
    """The properties of a twin that a back end may change."""

    desired: dict[str, Any] | None = None


class TwinBody(Body):
    """A twin, or a part of one, in a request."""

    tags: dict[str, Any] | None = None
    properties: PropertiesBody | None = None


@router.get(_DEVICE)
async def get_device_twin(asked: Asked, device_id: str) -> Response:
    """The twin of a device."""
    return _twin(asked, device_id)


@router.patch(_DEVICE)
async def update_device_twin(asked: Asked, device_id: str, body: TwinBody, if_match: IfMatch = None) -> Response:
    """Merge tags and desired properties into the twin of a device."""
    return _change(asked, body, if_match, device_id)


@router.put(_DEVICE)
async def replace_device_twin(asked: Asked, device_id: str, body: TwinBody, if_match: IfMatch = None) -> Response:
    """Replace tags and desired properties of a device."""
    return _change(asked, body, if_match, device_id, anew=True)


@router.get(_MODULE)
async def get_module_twin(asked: Asked, device_id: str, module_id: str) -> Response:
    """The twin of a module."""
    return _twin(asked, device_id, module_id)


@router.patch(_MODULE)
async def update_module_twin(
    asked: Asked, device_id: str, module_id: str, body: TwinBody, if_match: IfMatch = None
) -> Response:
    """Merge tags and desired properties into the twin of a module."""
    return _change(asked, body, if_match, device_id, module_id)


@router.put(_MODULE)
async def replace_module_twin(
    asked: Asked, device_id: str, module_id: str, body: TwinBody, if_match: IfMatch = None
) -> Response:
    """Replace tags and desired properties of a module."""
    return _change(asked, body, if_match, device_id, module_id, anew=True)


def _twin(asked: Service, device_id: str, module_id: str | None = None) -> Response:
    identity = asked.hub.registry.known(device_id, module_id)
    document = twin_document(asked.hub.management.sources, identity.client_id)
    assert document is not None, "it is registered"
    return reply(document, etag=document["etag"])


def _change(
    asked: Service,
    body: TwinBody,
    condition: str | None,
    device_id: str,
    module_id: str | None = None,
    *,
    anew: bool = False,
) -> Response:
    identity = asked.hub.registry.known(device_id, module_id)
    tags, desired = changes(body, anew=anew)
    asked.hub.twins.update(identity.client_id, tags=tags, desired=desired, etag=condition, anew=anew)
    return _twin(asked, device_id, module_id)


def changes(body: TwinBody, *, anew: bool) -> tuple[Change, Change]:
    """What a body changes of tags and desired properties; with `anew`, a section that it leaves out is emptied."""
    absent: Change = {} if anew else UNCHANGED
    tags = body.tags if "tags" in body.model_fields_set else absent
    properties = body.properties
    if properties is None or "desired" not in properties.model_fields_set:
        return tags, absent
    return tags, None if properties.desired is None else _without_added(properties.desired)


def _without_added(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in _ADDED}
