"""A device or module as it is registered, and what its id, keys and other facts may be.

Rule: keys never show in a repr, and no error quotes one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from gateway.errors import RegistryError
from gateway.hub.service_identity import Authentication

# IoT Hub documentation, "Understand the identity registry": up to 128 characters of these, and a reason of up to 128
_ID = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}\Z")
_MOST_REASON = 128
_KINDS = frozenset(kind.value for kind in Authentication)
#: parent of a device that hangs below the gateway itself
THIS_GATEWAY = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device, or a module of one, as it is registered.

    `authentication` is "sas", "selfSigned", "certificateAuthority" or "none"; without one it follows from whether there
    are thumbprints. Keys are base64. `edge` makes it an edge device; `parent` is the edge device above it: this gateway
    unless another one is named, None for a device out of every scope. `status_reason` is the owner's remark on whether
    it is enabled, `status_updated` when that was changed (seconds since 1970 UTC; 0 for never).
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
    status_reason: str | None = None
    managed_by: str | None = None
    generation_id: str = field(default="", compare=False)
    etag: str = field(default="", compare=False)
    status_updated: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        """Choose what the caller left open."""
        if not self.authentication:
            kind = Authentication.SELF_SIGNED if self.thumbprints else Authentication.SAS
            object.__setattr__(self, "authentication", kind.value)

    @property
    def client_id(self) -> str:
        """`device`, or `device/module`."""
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"

    def to_json(self) -> dict[str, Any]:
        """What is not as in any other device, keys included, for the gateway's own files."""
        values = ((name, usual, getattr(self, name)) for name, usual in _FIELDS)
        return {name: value for name, usual, value in values if value != usual}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Device:
        """Read what `to_json` made; raises KeyError, TypeError or ValueError for anything else."""
        if "thumbprints" in document:
            document = {**document, "thumbprints": tuple(document["thumbprints"])}
        device = cls(**document)
        if device.authentication not in _KINDS:
            raise ValueError("there is no such way to authenticate")
        # What was kept before there were generations has to have the same one at each start.
        return device if device.generation_id else replace(device, generation_id=new_generation(device.client_id))


_FIELDS = tuple((each.name, each.default) for each in fields(Device))


def check_ids(device: Device) -> None:
    """Raise RegistryError for ids that IoT Hub would not take."""
    for name in (device.device_id, device.module_id):
        if name is not None and not _ID.match(name):
            hint = "up to 128 letters, digits and - . + % _ # * ? ! ( ) , : = @ $ '"
            raise RegistryError(f"{name!r} cannot be a device or module id", hint)


def check_facts(device: Device) -> None:
    """Raise RegistryError for keys and words that IoT Hub would not take."""
    if device.authentication not in _KINDS:
        hint = f"choose from {', '.join(Authentication)}"
        raise RegistryError(f"{device.authentication!r} is no way to authenticate", hint)
    if device.edge and device.module_id is not None:
        raise RegistryError("a module cannot be an edge device")
    if device.status_reason is not None and len(device.status_reason) > _MOST_REASON:
        raise RegistryError(f"the reason of a status has at most {_MOST_REASON} characters")
    for text in filter(None, (device.status_reason, device.managed_by, *device.thumbprints)):
        try:
            text.encode()
        except UnicodeEncodeError:  # half a surrogate pair
            raise RegistryError("a text has half a character", "write characters beyond U+FFFF whole") from None
    for key in filter(None, (device.primary_key, device.secondary_key)):
        _check_key(key)


def _check_key(key: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise RegistryError("a device key is not base64", "copy the key again; it ends with '='") from None


def with_keys(device: Device) -> Device:
    """The device with keys made where it has none."""

    def key() -> str:
        return base64.b64encode(secrets.token_bytes(32)).decode()

    return replace(device, primary_key=device.primary_key or key(), secondary_key=device.secondary_key or key())


def new_generation(seed: str = "") -> str:
    """A generation id as IoT Hub writes it: eighteen digits."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest() if seed else secrets.token_bytes(32), "big")
    return f"6{number % 10**17:017d}"


def new_etag() -> str:
    """An ETag that no other version of anything has."""
    return base64.b64encode(secrets.token_bytes(6)).decode()
