"""Twins as the service's REST API and the query language give them: the twin with what the registry and the hub know.

Rule: conditions judge `view`, which costs little; only results, and conditions that look at $metadata, cost `document`.
Sources: "Queries for IoT Hub device and module twins" (the sample document); IoT Hub REST API, definition of Twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.hub.service_identity import ServiceIdentity
from gateway.upstream.registry import Registry, iot_hub_time
from gateway.upstream.twin import Section
from gateway.upstream.twins import Twins

#: what IoT Hub says of a moment that it does not know
NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Sources:
    """Where the documents come from; callables take client ids (`configurations`, `waiting` and `model` likewise)."""

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
        return sorted(one.client_id for one in self._from.registry() if (one.module_id is not None) is self._modules)

    def view(self, key: str, *, metadata: bool) -> Mapping[str, Any] | None:
        """What conditions look at."""
        if metadata:
            return twin_document(self._from, key)
        identity = self._from.registry().service_identity(key)
        if identity is None:
            return None
        twin = self._from.twins.get(key)
        properties = {"desired": _plain(twin.desired_section), "reported": _plain(twin.reported_section)}
        return _joined(
            self._from,
            identity,
            {"etag": twin.etag, "version": twin.version, "tags": twin.tags, "properties": properties},
        )

    def document(self, key: str) -> dict[str, Any]:
        """The whole twin."""
        found = twin_document(self._from, key)
        assert found is not None, "a key that was just listed"
        return found


def twin_document(sources: Sources, client_id: str) -> dict[str, Any] | None:
    """The twin of a device or module in full; None when it is not registered."""
    identity = sources.registry().service_identity(client_id)
    return None if identity is None else _joined(sources, identity, sources.twins.document(client_id))


def _joined(sources: Sources, identity: ServiceIdentity, twin: Mapping[str, Any]) -> dict[str, Any]:
    client_id = identity.client_id
    device = sources.registry().get(identity.device_id, identity.module_id)
    primary, secondary, *_ = (*identity.thumbprints, None, None)
    scopes = {"deviceScope": identity.scope, "parentScopes": list(identity.parent_scopes)}
    applied = sources.configurations(client_id)
    return {
        "deviceId": identity.device_id,
        **({} if identity.module_id is None else {"moduleId": identity.module_id}),
        "etag": twin["etag"],
        "deviceEtag": device.etag if device is not None else "",
        "status": "enabled" if identity.enabled else "disabled",
        **({} if device is None or not device.status_reason else {"statusReason": device.status_reason}),
        "statusUpdateTime": iot_hub_time(device.status_updated) if device is not None else NEVER,
        "connectionState": "Connected" if sources.connected(client_id) else "Disconnected",
        "lastActivityTime": iot_hub_time(sources.active(client_id)),
        "cloudToDeviceMessageCount": 0 if identity.module_id else sources.waiting(identity.device_id),
        "authenticationType": identity.authentication.value,
        "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary},
        "modelId": sources.model(client_id),
        "version": twin["version"],
        "tags": twin["tags"],
        "properties": twin["properties"],
        **({} if identity.module_id else {"capabilities": {"iotEdge": identity.edge}}),
        **{name: value for name, value in scopes.items() if value},
        **({"configurations": {one: {"status": status} for one, status in applied.items()}} if applied else {}),
    }


def _plain(section: Section) -> dict[str, Any]:
    return {**section.document, "$version": section.version}
