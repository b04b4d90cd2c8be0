"""Who hangs below whom: device scopes and parents of what is registered.

Rule: a scope names an edge device of one generation; registered anew, the device has another one, and no children.
Sources: IoT Hub documentation, "Understand parent and child relationships" and "Create a gateway hierarchy"
(deviceScope, parentScopes); DeviceScopeIdentitiesCache.cs of Azure/iotedge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.errors import RegistryError
from gateway.hub.service_identity import Authentication, ServiceIdentity, device_scope
from gateway.upstream.device import Device

Key = tuple[str, str | None]

_SCHEME = "ms-azure-iot-edge://"
_MOST_NESTED = 5  # edge devices, one below the other ("Connect a downstream IoT Edge device to an IoT Edge gateway")


class Scopes:
    """Scopes of `devices`, by device and module id; `edge_device_id` is the gateway's own edge device."""

    def __init__(self, devices: Mapping[Key, Device], edge_device_id: str) -> None:
        self._devices = devices
        self.edge_device_id = edge_device_id

    def parent(self, device: Device) -> Device | None:
        """The edge device right above a device."""
        if device.parent is None or device.device_id == self.edge_device_id:
            return None
        parent = self._devices.get((device.parent or self.edge_device_id, None))
        return parent if parent is not None and parent.edge else None

    def identity(self, found: Device) -> ServiceIdentity | None:
        """What a device or module is judged by; None for a module whose device is not there."""
        device = self._devices.get((found.device_id, None))
        if device is None:
            return None
        own = device_scope(found.device_id, found.generation_id) if found.edge else None
        parent = self.parent(found) if found.module_id is None else None
        above = device_scope(parent.device_id, parent.generation_id) if parent is not None else None
        return ServiceIdentity(
            device_id=found.device_id,
            module_id=found.module_id,
            authentication=Authentication(found.authentication),
            keys=tuple(key for key in (found.primary_key, found.secondary_key) if key),
            thumbprints=found.thumbprints,
            enabled=found.enabled and device.enabled,
            generation_id=found.generation_id,
            edge=found.edge,
            scope=own or above,
            parent_scopes=() if above is None else (above,),
        )

    def is_inside(self, each: Device) -> bool:
        """Whether a device or module is the gateway's own, or hangs below it, however deep."""
        above = self._devices.get((each.device_id, None))
        for _ in range(_MOST_NESTED + 1):  # the device itself does not count
            if above is None or above.device_id == self.edge_device_id:
                return above is not None
            above = self.parent(above)
        return False

    def parent_of(self, device: Device, scope: str | None, parent_scopes: Sequence[str] = ()) -> str | None:
        """The id of the edge device that a `deviceScope` and `parentScopes` name together; None for no parent.

        An edge device's own scope names nobody. Raises RegistryError for a scope that no edge device has, and for more
        than one parent.
        """
        wanted = dict.fromkeys(parent_scopes)
        if scope:
            known = self._devices.get((device.device_id, None))
            if not device.edge:
                wanted[scope] = None
            elif known is None or scope != device_scope(known.device_id, known.generation_id):
                hint = "name its parent in parentScopes"
                raise RegistryError("the deviceScope of an edge device is made by IoT Hub", hint)
        if len(wanted) > 1:
            raise RegistryError(f"{device.device_id!r} cannot have {len(wanted)} parents", "one is the most")
        return self._owner(*wanted) if wanted else None

    def _owner(self, scope: str) -> str:
        device_id, _, generation = scope.removeprefix(_SCHEME).rpartition("-")
        found = self._devices.get((device_id, None))
        if found is None or not found.edge or scope != device_scope(device_id, generation):
            found = None
        if found is None or found.generation_id != generation:
            hint = "read the deviceScope of an edge device that is registered"
            raise RegistryError(f"{scope!r} is the device scope of no edge device", hint)
        return device_id

    def check_parent(self, device: Device) -> None:
        """Raise RegistryError for a parent that cannot be one."""
        if not device.parent or device.module_id is not None:
            return
        parent = self._devices.get((device.parent, None))
        if parent is None or not parent.edge or device.parent == device.device_id:
            hint = "register the edge device first, with edge=True"
            raise RegistryError(f"{device.parent!r} cannot be a parent: it is no edge device", hint)

    def children(self, parent: Device) -> list[Device]:
        """The devices right below an edge device."""
        named = {parent.device_id, ""} if parent.device_id == self.edge_device_id else {parent.device_id}
        return [one for one in self._devices.values() if one.module_id is None and one.parent in named]
