"""Identities as the service API writes and reads them.

Rule: what a body does not say of a device is not there: a device that is updated without its deviceScope has no parent
any more. Only its proof (authentication) stays as it is when nothing is said of it.
Sources: IoT Hub REST API, definitions of Device, Module and ExportImportDevice; IoT Hub documentation, "Understand the
identity registry in your IoT hub".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gateway.errors import HubCode, RegistryError
from gateway.hub.service_identity import Authentication
from gateway.upstream.device import Device
from gateway.upstream.registry import Registry, iot_hub_time
from gateway.upstream.rest.service import Service

_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")  # SHA-1 or SHA-256


class Body(BaseModel):
    """What a request says; names that the API does not know are ignored, as IoT Hub does."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )


class SymmetricKey(Body):
    """Keys in base64; one that is missing is made."""

    primary_key: str | None = Field(default=None, repr=False)
    secondary_key: str | None = Field(default=None, repr=False)


class X509Thumbprint(Body):
    """SHA-1 or SHA-256 thumbprints in hex."""

    primary_thumbprint: str | None = None
    secondary_thumbprint: str | None = None


class Proof(Body):
    """How a device or module authenticates."""

    type: Literal["sas", "selfSigned", "certificateAuthority", "none"] | None = None
    symmetric_key: SymmetricKey | None = None
    x509_thumbprint: X509Thumbprint | None = Field(default=None, alias="x509Thumbprint")


class Capabilities(Body):
    """What a device is besides a device."""

    iot_edge: bool = False


class IdentityBody(Body):
    """What devices and modules have in common."""

    authentication: Proof | None = None


class DeviceBody(IdentityBody):
    """A device in a request."""

    device_id: str | None = None
    status: Literal["enabled", "disabled"] | None = None
    status_reason: str | None = None
    capabilities: Capabilities | None = None
    device_scope: str | None = None
    parent_scopes: list[str] | None = None


class ModuleBody(IdentityBody):
    """A module in a request."""

    device_id: str | None = None
    module_id: str | None = None
    managed_by: str | None = None


def device_of(body: DeviceBody, device_id: str, registry: Registry) -> Device:
    """The device that a body describes. Raises RegistryError."""
    _check_same("deviceId", body.device_id, device_id)
    known = registry.get(device_id)
    device = Device(
        device_id,
        enabled=body.status != "disabled",
        status_reason=body.status_reason,
        edge=bool(body.capabilities and body.capabilities.iot_edge),
        parent=None,
    )
    parent = registry.scopes.parent_of(device, body.device_scope, body.parent_scopes or ())
    return _proven(replace(device, parent=parent), body.authentication, known)


def module_of(body: ModuleBody, device_id: str, module_id: str, registry: Registry) -> Device:
    """The module that a body describes. Raises RegistryError."""
    _check_same("deviceId", body.device_id, device_id)
    _check_same("moduleId", body.module_id, module_id)
    module = Device(device_id, module_id, managed_by=body.managed_by)
    return _proven(module, body.authentication, registry.get(device_id, module_id))


def document_of(service: Service, device: Device) -> dict[str, Any]:
    """A device or module as it is answered, with what the hub knows beside the registry."""
    document = service.hub.registry.identity_json(device.device_id, device.module_id)
    assert document is not None, "only what is registered is shown"
    times = service.hub.activity.times(device.client_id)
    waiting = 0 if device.module_id else service.hub.commands.depth(device.device_id)
    return document | {
        "connectionState": "Connected" if service.hub.uplink.is_connected(device.client_id) else "Disconnected",
        "connectionStateUpdatedTime": iot_hub_time(times.state_changed),
        "lastActivityTime": iot_hub_time(times.last_active),
        "cloudToDeviceMessageCount": waiting,
    }


def _proven(device: Device, proof: Proof | None, known: Device | None) -> Device:
    if proof is None:
        return device if known is None else _as_before(device, known)
    keys, prints = proof.symmetric_key or SymmetricKey(), proof.x509_thumbprint or X509Thumbprint()
    thumbprints = tuple(one for one in (prints.primary_thumbprint, prints.secondary_thumbprint) if one)
    kind = proof.type or (Authentication.SELF_SIGNED if thumbprints else Authentication.SAS).value
    if kind == Authentication.SELF_SIGNED:
        _check_thumbprints(thumbprints)
        return replace(device, authentication=kind, thumbprints=thumbprints)
    if kind != Authentication.SAS:
        return replace(device, authentication=kind)
    primary, secondary = keys.primary_key or "", keys.secondary_key or ""
    return replace(device, authentication=kind, primary_key=primary, secondary_key=secondary)


def _as_before(device: Device, known: Device) -> Device:
    return replace(
        device,
        authentication=known.authentication,
        primary_key=known.primary_key,
        secondary_key=known.secondary_key,
        thumbprints=known.thumbprints,
    )


def _check_thumbprints(thumbprints: tuple[str, ...]) -> None:
    if not thumbprints or not all(map(_THUMBPRINT.fullmatch, thumbprints)):
        raise RegistryError("selfSigned needs thumbprints of 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")


def _check_same(name: str, said: str | None, asked: str) -> None:
    if said is not None and said != asked:
        raise RegistryError(f"{name} is {said!r} in the body and {asked!r} in the path", code=HubCode.ArgumentInvalid)
