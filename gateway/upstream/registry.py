"""Devices and modules that IoT Hub knows, and their keys.

Rule: keys leave this module only to be compared (`find`), to be put into a connection string, or into the registry's
own file, which is readable by its owner alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.errors import RegistryError
from gateway.hub.connect import Credentials
from gateway.hub.identity import Identity

# IoT Hub documentation, "Understand the identity registry": up to 128 characters of these
_ID = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or a module of one, with base64 keys (none for a device that shows a certificate)."""

    device_id: str
    module_id: str | None = None
    primary_key: str = field(default="", repr=False)
    secondary_key: str = field(default="", repr=False)
    thumbprints: tuple[str, ...] = ()
    enabled: bool = True

    @property
    def credentials(self) -> Credentials:
        """What a CONNECT is judged by."""
        keys = tuple(key for key in (self.primary_key, self.secondary_key) if key)
        return Credentials(keys, self.thumbprints, self.enabled)


class Registry:
    """The identity registry; with `path`, every change is kept in that file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._devices: dict[tuple[str, str | None], Device] = {}
        if path is not None and path.exists():
            self._load(path)

    def __contains__(self, device_id: object) -> bool:
        return (device_id, None) in self._devices

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, device_id: str, module_id: str | None = None) -> Device | None:
        """The device or module, if it is registered."""
        return self._devices.get((device_id, module_id))

    def add(self, device: Device, *, x509: bool = False) -> Device:
        """Register a device or module; keys that are missing are made, unless it authenticates by certificate."""
        for name in (device.device_id, device.module_id):
            if name is not None and not _ID.match(name):
                hint = "up to 128 letters, digits and - . + % _ # * ? ! ( ) , : = @ $ '"
                raise RegistryError(f"{name!r} cannot be a device or module id", hint)
        if (device.device_id, device.module_id) in self._devices:
            raise RegistryError(f"{device.device_id!r} is registered already", "choose another id")
        if device.module_id is not None and device.device_id not in self:
            raise RegistryError(f"module {device.module_id!r} belongs to {device.device_id!r}, which is not registered")
        complete = device if x509 or device.thumbprints else _with_keys(device)
        self._put(complete)
        return complete

    def update(self, device: Device) -> None:
        """Replace what is known of a registered device or module."""
        if (device.device_id, device.module_id) not in self._devices:
            raise RegistryError(f"{device.device_id!r} is not registered")
        self._put(device)

    def remove(self, device_id: str, module_id: str | None = None) -> None:
        """Forget a device with its modules, or one module."""
        gone = [key for key in self._devices if key[0] == device_id and module_id in (None, key[1])]
        if not gone:
            raise RegistryError(f"{device_id!r} is not registered")
        for key in gone:
            self._note({"removed": key})
            del self._devices[key]

    def find(self, identity: Identity) -> Credentials | None:
        """What a CONNECT with this identity is judged by; a module may use its device's keys too."""
        found = self.get(identity.device_id, identity.module_id)
        if found is None:
            return None
        credentials = found.credentials
        if identity.module_id is None:
            return credentials
        device = self.get(identity.device_id)
        if device is None:
            return None
        parent = device.credentials
        return replace(credentials, keys=credentials.keys + parent.keys, enabled=credentials.enabled and parent.enabled)

    def _put(self, device: Device) -> None:
        for key in filter(None, (device.primary_key, device.secondary_key)):
            _check_key(key)
        self._note({"set": asdict(device)})
        self._devices[(device.device_id, device.module_id)] = device

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
                    self._devices.pop((change["removed"][0], change["removed"][1]), None)
                else:
                    device = Device(**(change["set"] | {"thumbprints": tuple(change["set"]["thumbprints"])}))
                    self._devices[(device.device_id, device.module_id)] = device
        except (OSError, ValueError, KeyError, TypeError, IndexError) as wrong:
            # Only the kind of error: its text may quote the file, and the file holds keys.
            hint = "move the file away to start with an empty registry; it was not changed"
            raise RegistryError(f"cannot read the registry {path}: {type(wrong).__name__}", hint) from None


def _with_keys(device: Device) -> Device:
    def key() -> str:
        return base64.b64encode(secrets.token_bytes(32)).decode()

    return replace(device, primary_key=device.primary_key or key(), secondary_key=device.secondary_key or key())


def _check_key(key: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise RegistryError("a device key is not base64", "copy the key again; it ends with '='") from None
