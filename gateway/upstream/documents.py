"""Twins as the service's REST API and the query language give them: the twin with what the registry and the hub know.

Rule: a property of the document is made in one place, the table below; conditions ask for the few that they look at,
results for all of them.
Sources: "Queries for IoT Hub device and module twins" (the sample document); IoT Hub REST API, definition of Twin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from gateway.hub.service_identity import ServiceIdentity
from gateway.upstream.device import Device
from gateway.upstream.registry import Registry, iot_hub_time
from gateway.upstream.twin import Section, Twin
from gateway.upstream.twins import Twins


@dataclass(frozen=True)
class Sources:
    """Where the documents come from; callables take client ids, `waiting` device ids."""

    registry: Callable[[], Registry]
    twins: Twins
    connected: Callable[[str], bool]
    waiting: Callable[[str], int] = field(default=lambda device_id: 0)
    active: Callable[[str], float] = field(default=lambda client_id: 0.0)
    configurations: Callable[[str], Mapping[str, str]] = field(default=lambda client_id: {})
    model: Callable[[str], str] = field(default=lambda client_id: "")


class TwinDocuments:
    """The twins of all devices, or of all modules, by client id."""

    def __init__(self, sources: Sources, *, modules: bool) -> None:
        self._from = sources
        self._modules = modules

    def keys(self) -> Sequence[str]:
        """The client ids, sorted."""
        registry = self._from.registry()
        if self._modules:
            return sorted(one.client_id for one in registry if one.module_id is not None)
        return sorted(one.device_id for one in registry if one.module_id is None)

    def view(self, key: str, names: Collection[str], *, metadata: bool) -> Mapping[str, Any] | None:
        """The properties that a condition looks at."""
        device = _registered(self._from, key)
        return None if device is None else _Document(self._from, device).some(names, metadata=metadata)

    def document(self, key: str) -> dict[str, Any]:
        """The whole twin."""
        found = twin_document(self._from, key)
        assert found is not None, "a key that was just listed"
        return found


def twin_document(sources: Sources, client_id: str) -> dict[str, Any] | None:
    """The twin of a device or module in full; None when it is not registered."""
    device = _registered(sources, client_id)
    return None if device is None else _Document(sources, device).some(_PROPERTIES, metadata=True)


def _registered(sources: Sources, client_id: str) -> Device | None:
    device_id, _, module_id = client_id.partition("/")
    return sources.registry().get(device_id, module_id or None)


class _Absent(Enum):
    ABSENT = "absent"


_ABSENT = _Absent.ABSENT


class _Document:
    """One twin, whose parts are looked up when a property needs them."""

    def __init__(self, sources: Sources, device: Device) -> None:
        self.sources = sources
        self.device = device
        self.metadata = False

    def some(self, names: Collection[str], *, metadata: bool) -> dict[str, Any]:
        """The properties with these names, as far as the twin has them."""
        self.metadata = metadata
        found = ((name, _PROPERTIES[name](self)) for name in names if name in _PROPERTIES)
        return {name: value for name, value in found if value is not _ABSENT}

    @cached_property
    def twin(self) -> Twin:
        return self.sources.twins.get(self.device.client_id)

    @cached_property
    def served(self) -> dict[str, Any]:
        return self.sources.twins.document(self.device.client_id)

    @cached_property
    def identity(self) -> ServiceIdentity:
        identity = self.sources.registry().service_identity(self.device.client_id)
        assert identity is not None, "a module's device is registered as long as the module is"
        return identity

    def tags(self) -> Any:
        return self.served["tags"] if self.metadata else self.twin.tags

    def properties(self) -> Any:
        if self.metadata:
            return self.served["properties"]
        return {"desired": _plain(self.twin.desired_section), "reported": _plain(self.twin.reported_section)}

    def thumbprints(self) -> Any:
        primary, secondary, *_ = (*self.device.thumbprints, None, None)
        return {"primaryThumbprint": primary, "secondaryThumbprint": secondary}

    def connection(self) -> Any:
        return "Connected" if self.sources.connected(self.device.client_id) else "Disconnected"

    def waiting(self) -> Any:
        return 0 if self.device.module_id else self.sources.waiting(self.device.device_id)

    def configurations(self) -> Any:
        applied = self.sources.configurations(self.device.client_id)
        return {one: {"status": status} for one, status in applied.items()} or _ABSENT


_PROPERTIES: Mapping[str, Callable[[_Document], Any]] = {
    "deviceId": lambda one: one.device.device_id,
    "moduleId": lambda one: one.device.module_id or _ABSENT,
    "etag": lambda one: one.twin.etag,
    "deviceEtag": lambda one: one.device.etag,
    "status": lambda one: "enabled" if one.device.enabled else "disabled",
    "statusReason": lambda one: one.device.status_reason or _ABSENT,
    "statusUpdateTime": lambda one: iot_hub_time(one.device.status_updated),
    "connectionState": _Document.connection,
    "lastActivityTime": lambda one: iot_hub_time(one.sources.active(one.device.client_id)),
    "cloudToDeviceMessageCount": _Document.waiting,
    "authenticationType": lambda one: one.device.authentication,
    "x509Thumbprint": _Document.thumbprints,
    "modelId": lambda one: one.sources.model(one.device.client_id),
    "version": lambda one: one.twin.version,
    "tags": _Document.tags,
    "properties": _Document.properties,
    "capabilities": lambda one: _ABSENT if one.device.module_id else {"iotEdge": one.device.edge},
    "deviceScope": lambda one: one.identity.scope or _ABSENT,
    "parentScopes": lambda one: list(one.identity.parent_scopes) or _ABSENT,
    "configurations": _Document.configurations,
}


def _plain(section: Section) -> dict[str, Any]:
    return {**section.document, "$version": section.version}
