"""What IoT Hub says of a device or module: the identity that clients are judged by.

Rule: two identities are equal when the product would see no change between them; an ETag is no part of them.
Sources: ServiceIdentity.cs of Azure/iotedge; IoT Hub documentation, "Understand the identity registry".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

_ON_DISK = {True: "enabled", False: "disabled"}


class Authentication(StrEnum):
    """How a device or module proves who it is, in the words of IoT Hub's identity JSON."""

    SAS = "sas"
    SELF_SIGNED = "selfSigned"
    CERTIFICATE_AUTHORITY = "certificateAuthority"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """A device or module; `keys` (base64) and `thumbprints` (hex) are the primary one and then the secondary one.

    `scope` is the device scope: an edge device's own, or that of a leaf's parent. Keys never show in a repr.
    """

    device_id: str
    module_id: str | None = None
    authentication: Authentication = Authentication.SAS
    keys: tuple[str, ...] = field(default=(), repr=False)
    thumbprints: tuple[str, ...] = ()
    enabled: bool = True
    generation_id: str = ""
    edge: bool = False
    scope: str | None = None
    parent_scopes: tuple[str, ...] = ()

    @property
    def client_id(self) -> str:
        """`device`, or `device/module`."""
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"

    def to_json(self) -> dict[str, Any]:
        """The identity as IoT Hub writes it, keys included."""
        module = {} if self.module_id is None else {"moduleId": self.module_id}
        return {
            "deviceId": self.device_id,
            **module,
            "generationId": self.generation_id,
            "status": _ON_DISK[self.enabled],
            "authentication": {
                "type": self.authentication.value,
                "symmetricKey": _pair("Key", self.keys),
                "x509Thumbprint": _pair("Thumbprint", self.thumbprints),
            },
            "capabilities": {"iotEdge": self.edge},
            "deviceScope": self.scope,
            "parentScopes": list(self.parent_scopes),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises KeyError, TypeError, ValueError or AttributeError for anything else."""
        proof = document["authentication"]
        if document["status"] not in _ON_DISK.values():
            raise ValueError("an identity is enabled or disabled")
        return cls(
            device_id=_text(document["deviceId"]),
            module_id=_text(document["moduleId"]) if "moduleId" in document else None,
            authentication=Authentication(proof["type"]),
            keys=_values("Key", proof["symmetricKey"]),
            thumbprints=_values("Thumbprint", proof["x509Thumbprint"]),
            enabled=document["status"] == _ON_DISK[True],
            generation_id=_text(document["generationId"]),
            edge=bool(document["capabilities"]["iotEdge"]),
            scope=document["deviceScope"],
            parent_scopes=tuple(map(_text, document["parentScopes"])),
        )


def device_scope(device_id: str, generation_id: str) -> str:
    """The device scope of an edge device (DeviceScopeIdentitiesCache.cs, ServiceIdentityStore)."""
    return f"ms-azure-iot-edge://{device_id}-{generation_id}"


def _pair(kind: str, values: Sequence[str]) -> dict[str, str | None]:
    primary, secondary, *_ = (*values, None, None)
    return {f"primary{kind}": primary, f"secondary{kind}": secondary}


def _values(kind: str, pair: Mapping[str, str | None]) -> tuple[str, ...]:
    return tuple(_text(value) for value in (pair[f"primary{kind}"], pair[f"secondary{kind}"]) if value is not None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text is expected")
    return value
