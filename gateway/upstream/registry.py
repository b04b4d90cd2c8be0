"""Devices and modules that IoT Hub knows, and their keys.

Rule: keys leave this module only to be compared (as a ServiceIdentity), to be put into a connection string, or into the
registry's own file, which is readable by its owner alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.errors import RegistryError
from gateway.hub.service_identity import Authentication, ServiceIdentity, device_scope

# IoT Hub documentation, "Understand the identity registry": up to 128 characters of these
_ID = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}\Z")
#: parent of a device that hangs below the gateway itself
THIS_GATEWAY = ""
_MOST_NESTED = 5  # edge devices, one below the other ("Connect a downstream IoT Edge device to an IoT Edge gateway")


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or a module of one, as it is registered.

    `authentication` is "sas", "selfSigned", "certificateAuthority" or "none"; without one it follows from whether there
    are thumbprints. Keys are base64. `edge` makes it an edge device; `parent` is the edge device above it: this gateway
    unless another one is named, None for a device out of every scope.
    """

    device_id: str
    module_id: str | None = None
    primary_key: str = field(default="", repr=False)
    secondary_key: str = field(default="", repr=False)
    thumbprints: tuple[str, ...] = ()
    enabled: bool = True
    authentication: str = ""
    edge: bool = False
    parent: str | None = THIS_GATEWAY
    generation_id: str = field(default="", compare=False)
    etag: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Choose what the caller left open."""
        if not self.authentication:
            kind = Authentication.SELF_SIGNED if self.thumbprints else Authentication.SAS
            object.__setattr__(self, "authentication", kind.value)

    @property
    def client_id(self) -> str:
        """`device`, or `device/module`."""
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"


class Registry:
    """The identity registry of the hub `hub_hostname`; with `path`, every change is kept in that file.

    `edge_device_id` is the gateway's own edge device, which is registered with its module $edgeHub.
    """

    def __init__(self, path: Path | None = None, *, edge_device_id: str = "", hub_hostname: str = "") -> None:
        self._path = path
        self.edge_device_id = edge_device_id
        self.hub_hostname = hub_hostname
        self._devices: dict[tuple[str, str | None], Device] = {}
        self._modules: dict[str, dict[str, None]] = {}  # of each device, in the order of registration
        if path is not None and path.exists():
            self._load(path)
        if edge_device_id:
            self._register_gateway(edge_device_id)

    def _register_gateway(self, device_id: str) -> None:
        known = self.get(device_id)
        if known is None:
            self.add(Device(device_id, edge=True, parent=None))
        elif not known.edge:
            hint = "give the gateway's edge device an id of its own"
            raise RegistryError(f"{device_id!r} is registered as a device that is no edge device", hint)
        if self.get(device_id, "$edgeHub") is None:
            self.add(Device(device_id, "$edgeHub"))

    def __contains__(self, device_id: object) -> bool:
        return (device_id, None) in self._devices

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(tuple(self._devices.values()))

    def get(self, device_id: str, module_id: str | None = None) -> Device | None:
        """The device or module, if it is registered."""
        return self._devices.get((device_id, module_id))

    def add(self, device: Device, *, x509: bool = False) -> Device:
        """Register a device or module; keys that are missing are made, unless it authenticates by certificate.

        An edge device gets its module $edgeHub, as IoT Hub gives it one.
        """
        for name in (device.device_id, device.module_id):
            if name is not None and not _ID.match(name):
                hint = "up to 128 letters, digits and - . + % _ # * ? ! ( ) , : = @ $ '"
                raise RegistryError(f"{name!r} cannot be a device or module id", hint)
        if (device.device_id, device.module_id) in self._devices:
            raise RegistryError(f"{device.device_id!r} is registered already", "choose another id")
        if device.module_id is not None and device.device_id not in self:
            raise RegistryError(f"module {device.module_id!r} belongs to {device.device_id!r}, which is not registered")
        if x509 and not device.thumbprints:
            device = replace(device, authentication=Authentication.SELF_SIGNED.value)
        self._check(device)
        complete = _with_keys(device) if device.authentication == Authentication.SAS else device
        added = self._put(replace(complete, generation_id=device.generation_id or _generation()))
        if added.edge:
            self.add(Device(added.device_id, "$edgeHub"))
        return added

    def update(self, device: Device) -> None:
        """Replace what is known of a registered device or module."""
        known = self._devices.get((device.device_id, device.module_id))
        if known is None:
            raise RegistryError(f"{device.device_id!r} is not registered")
        self._check(device)
        self._put(replace(device, generation_id=known.generation_id))

    def remove(self, device_id: str, module_id: str | None = None) -> tuple[str, ...]:
        """Forget a device with its modules, or one module; returns the client ids that are gone."""
        if (device_id, module_id) not in self._devices:
            raise RegistryError(f"{device_id!r} is not registered")
        modules = self._modules.get(device_id, {}) if module_id is None else {}
        gone = [self._devices[key] for key in (*((device_id, name) for name in modules), (device_id, module_id))]
        for device in gone:
            key = (device.device_id, device.module_id)
            self._note({"removed": key})
            self._drop(key)
        return tuple(device.client_id for device in gone)

    # -- what the Edge Hub may know ---------------------------------------------------------------------------------

    def service_identity(self, client_id: str) -> ServiceIdentity | None:
        """The identity of a device or module, whether it is in the gateway's scope or not."""
        device_id, slash, module_id = client_id.partition("/")
        found = self.get(device_id, module_id if slash else None)
        device = self.get(device_id)
        if found is None or device is None:
            return None
        own = device_scope(device_id, found.generation_id) if found.edge else None
        parent = self._parent(found) if found.module_id is None else None
        above = device_scope(parent.device_id, parent.generation_id) if parent is not None else None
        return ServiceIdentity(
            device_id=device_id,
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

    def identity_json(self, device_id: str, module_id: str | None = None) -> dict[str, Any] | None:
        """A device or module as IoT Hub's REST API shows it, keys included; None when it is not registered."""
        found = self.get(device_id, module_id)
        identity = self.service_identity(found.client_id) if found is not None else None
        if found is None or identity is None:
            return None
        status = "enabled" if found.enabled else "disabled"
        return identity.to_json() | {"etag": found.etag, "status": status, "statusReason": None}

    def in_scope(self, client_id: str) -> ServiceIdentity | None:
        """The identity of a device or module that hangs below the gateway, however deep."""
        device = self.get(client_id.partition("/")[0])
        return self.service_identity(client_id) if device is not None and self._is_below(device) else None

    def scope(self) -> list[ServiceIdentity]:
        """Every identity in the gateway's scope: its own device, what hangs below it, and all their modules."""
        found = [self.service_identity(each.client_id) for each in self._devices.values() if self._is_inside(each)]
        return [identity for identity in found if identity is not None]

    def _is_inside(self, each: Device) -> bool:
        device = self.get(each.device_id)
        return device is not None and self._is_below(device)

    def _is_below(self, device: Device) -> bool:
        above: Device | None = device
        for _ in range(_MOST_NESTED + 1):  # the device itself does not count
            if above is None or above.device_id == self.edge_device_id:
                return above is not None
            above = self._parent(above)
        return False

    def _parent(self, device: Device) -> Device | None:
        if device.parent is None or device.device_id == self.edge_device_id:
            return None
        parent = self.get(device.parent or self.edge_device_id)
        return parent if parent is not None and parent.edge else None

    # -- changes ------------------------------------------------------------------------------------------------------

    def _check(self, device: Device) -> None:
        if device.authentication not in list(Authentication):
            hint = f"choose from {', '.join(Authentication)}"
            raise RegistryError(f"{device.authentication!r} is no way to authenticate", hint)
        if device.edge and device.module_id is not None:
            raise RegistryError("a module cannot be an edge device")
        if device.parent and device.module_id is None:
            parent = self.get(device.parent)
            if parent is None or not parent.edge:
                hint = "register the edge device first, with edge=True"
                raise RegistryError(f"{device.parent!r} cannot be a parent: it is no edge device", hint)
        for key in filter(None, (device.primary_key, device.secondary_key)):
            _check_key(key)

    def _put(self, device: Device) -> Device:
        device = replace(device, etag=_etag())
        self._note({"set": asdict(device)})
        self._keep(device)
        return device

    def _keep(self, device: Device) -> None:
        self._devices[(device.device_id, device.module_id)] = device
        if device.module_id is not None:
            self._modules.setdefault(device.device_id, {})[device.module_id] = None

    def _drop(self, key: tuple[str, str | None]) -> None:
        self._devices.pop(key, None)
        if key[1] is None:
            self._modules.pop(key[0], None)
        else:
            self._modules.get(key[0], {}).pop(key[1], None)

    def _note(self, change: dict[str, Any]) -> None:
        """Append a change to the file: one line each, so that registering stays cheap with thousands of devices."""
        if self._path is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(json.dumps(change) + "\n")
            except OSError as wrong:
                hint = "choose another folder with --state"
                raise RegistryError(f"cannot write the registry {self._path}: {wrong.strerror}", hint) from None

    def _load(self, path: Path) -> None:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                change = json.loads(line)
                if "removed" in change:
                    self._drop((change["removed"][0], change["removed"][1]))
                else:
                    self._keep(_from_file(change["set"]))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as wrong:
            # Only the kind of error: its text may quote the file, and the file holds keys.
            hint = "move the file away to start with an empty registry; it was not changed"
            raise RegistryError(f"cannot read the registry {path}: {type(wrong).__name__}", hint) from None


def _from_file(fields: dict[str, Any]) -> Device:
    device = Device(**(fields | {"thumbprints": tuple(fields["thumbprints"])}))
    Authentication(device.authentication)  # ValueError for a word that is none
    # Files of before 0.2 have no generation; it has to be the same at each start.
    return device if device.generation_id else replace(device, generation_id=_generation(device.client_id))


def _generation(seed: str = "") -> str:
    """A generation id as IoT Hub writes it: eighteen digits."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest() if seed else secrets.token_bytes(32), "big")
    return f"6{number % 10**17:017d}"


def _etag() -> str:
    return base64.b64encode(secrets.token_bytes(6)).decode()


def _with_keys(device: Device) -> Device:
    def key() -> str:
        return base64.b64encode(secrets.token_bytes(32)).decode()

    return replace(device, primary_key=device.primary_key or key(), secondary_key=device.secondary_key or key())


def _check_key(key: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise RegistryError("a device key is not base64", "copy the key again; it ends with '='") from None
