"""Device and module connection strings, with GatewayHostName.

Rule: as strict as the strictest real SDK (azure-iot-device for Python), since the lenient ones go elsewhere silently:
with `GatewayHostname` the SDK for Node connects to the hub, not to the gateway. Every mistake is named, and no error
repeats a value: it may be the key.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from leafsim.address import is_address
from leafsim.errors import ConnectionStringError

HOST_NAME, DEVICE_ID, MODULE_ID = "HostName", "DeviceId", "ModuleId"
KEY, GATEWAY, X509 = "SharedAccessKey", "GatewayHostName", "x509"
KEYS = (HOST_NAME, DEVICE_ID, MODULE_ID, KEY, GATEWAY, X509)

# Valid for IoT Hub, but not for a leaf of this package, with the reason.
_ELSEWHERE = {
    "SharedAccessKeyName": "this is a service's connection string; take the one of the device (DeviceId=...)",
    "SharedAccessSignature": "a ready-made token cannot be renewed; give the device's SharedAccessKey instead",
}
# "ASCII 7-bit alphanumeric characters plus certain special characters", up to 128 (IoT Hub identity registry).
_IDENTIFIER = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")
_SPEAKABLE = re.compile(r"[A-Za-z0-9_]{1,24}")  # a device key has 44 characters: what is this short is none


@dataclass(frozen=True)
class ConnectionString:
    """Who a leaf is and where it connects; `str()` gives the exact text, key included, `repr()` hides the key."""

    host_name: str
    device_id: str
    module_id: str | None = None
    shared_access_key: str | None = field(default=None, repr=False)
    gateway_host_name: str | None = None
    x509: bool = False

    @classmethod
    def parse(cls, text: str) -> ConnectionString:
        """Read a connection string; raises ConnectionStringError with what is wrong and what to write instead."""
        parts = _parts(text)
        _check_complete(parts)
        for key in (HOST_NAME, GATEWAY):
            if key in parts:
                _check_host(key, parts[key])
        for key in (DEVICE_ID, MODULE_ID):
            if key in parts:
                _check_id(key, parts[key])
        if KEY in parts:
            decode_key(parts[KEY])
        return cls(
            host_name=parts[HOST_NAME],
            device_id=parts[DEVICE_ID],
            module_id=parts.get(MODULE_ID),
            shared_access_key=parts.get(KEY),
            gateway_host_name=parts.get(GATEWAY),
            x509=X509 in parts,
        )

    def __str__(self) -> str:
        """Return the text with exact key case and no trailing `;`."""
        values = (
            (HOST_NAME, self.host_name),
            (DEVICE_ID, self.device_id),
            (MODULE_ID, self.module_id),
            (KEY, self.shared_access_key),
            (X509, "true" if self.x509 else None),
            (GATEWAY, self.gateway_host_name),
        )
        return ";".join(f"{key}={value}" for key, value in values if value is not None)

    @property
    def target(self) -> str:
        """The name to connect to, to send as SNI and to find in the server certificate."""
        return self.gateway_host_name or self.host_name

    @property
    def client_id(self) -> str:
        """The MQTT client id: `device` or `device/module`."""
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"

    @property
    def resource(self) -> str:
        """What a SAS token of this identity is for, not encoded. It names the hub, never the gateway."""
        module = "" if self.module_id is None else f"/modules/{self.module_id}"
        return f"{self.host_name}/devices/{self.device_id}{module}"

    def replace(self, **changes: Any) -> ConnectionString:
        """Return a copy with other values, which are not checked: a wrong leaf is often what is wanted."""
        return dataclasses.replace(self, **changes)


def decode_key(key: str) -> bytes:
    """Return the bytes of a shared access key; ConnectionStringError when it is not base64."""
    try:
        decoded = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ConnectionStringError(
            "bad-key", KEY, f"{KEY} is not base64", "copy the whole key; it is base64 and mostly ends with `=`"
        )
    return decoded


def _parts(text: str) -> dict[str, str]:
    if not text.strip():
        raise ConnectionStringError("empty", None, "it is empty", f"write {HOST_NAME}=...;{DEVICE_ID}=...;{KEY}=...")
    if text != text.strip() or text[0] in "\"'":
        raise ConnectionStringError(
            "blank", None, "a blank, line end or quote surrounds it", "give the text alone, without quotes inside"
        )
    if text.endswith(";"):
        raise ConnectionStringError(
            "trailing-semicolon", None, "it ends with `;`", "drop the last `;`, the Azure SDK for Python refuses it"
        )
    found: dict[str, str] = {}
    for key, value in _pairs(text):
        if key in found:
            raise ConnectionStringError("duplicate", key, f"{key} is there twice", f"keep one {key}")
        found[key] = value
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for position, part in enumerate(text.split(";"), start=1):
        key, equals, value = part.partition("=")
        if not equals:
            what = f"{key} has no `=`" if key in KEYS else f"part {position} has no `=`"
            raise ConnectionStringError("no-equals", key if key in KEYS else None, what, "write Key=value;Key=value")
        if key not in KEYS:
            raise _unknown(key, position)
        if not value:
            raise ConnectionStringError("empty-value", key, f"{key} has no value", f"write {key}=VALUE or leave it out")
        if value != value.strip():
            raise ConnectionStringError("blank", key, f"a blank surrounds the value of {key}", "remove the blank")
        yield key, value


def _unknown(key: str, position: int) -> ConnectionStringError:
    bare = key.strip()
    known = {name.lower(): name for name in KEYS}
    if bare in _ELSEWHERE:
        return ConnectionStringError("not-for-devices", bare, f"{bare} is not for a leaf device", _ELSEWHERE[bare])
    if bare.lower() in known:
        right = known[bare.lower()]
        if bare == right:
            return ConnectionStringError("blank", right, f"a blank surrounds {right}", f"write {right}=...")
        return ConnectionStringError(
            "wrong-case", right, f"`{bare}` is spelled `{right}`", f"write {right}=...; keys are case-sensitive"
        )
    shown = f"key `{bare}`" if _SPEAKABLE.fullmatch(bare) else f"key in part {position}"
    close = difflib.get_close_matches(bare.lower(), known, n=1)
    hint = f"did you mean `{known[close[0]]}`?" if close else f"known keys are {', '.join(KEYS)}"
    return ConnectionStringError("unknown-key", bare if "`" in shown else None, f"unknown {shown}", hint)


def _check_complete(parts: dict[str, str]) -> None:
    for key in (HOST_NAME, DEVICE_ID):
        if key not in parts:
            raise ConnectionStringError("missing", key, f"{key} is missing", f"add {key}=...")
    if X509 in parts and parts[X509].lower() != "true":
        raise ConnectionStringError("bad-value", X509, "x509 can only be true", "write x509=true, or give a key")
    if X509 in parts and KEY in parts:
        raise ConnectionStringError("conflict", X509, f"x509=true and {KEY} exclude each other", "keep one of them")
    if X509 not in parts and KEY not in parts:
        hint = f"add {KEY}=..., or x509=true for a device with a certificate"
        raise ConnectionStringError("missing", KEY, f"{KEY} is missing", hint)


def _check_id(key: str, value: str) -> None:
    if not _IDENTIFIER.fullmatch(value):
        hint = "1 to 128 of A-Z a-z 0-9 - . % _ * ? ! ( ) , : = @ $ ' and nothing else"
        raise ConnectionStringError("bad-value", key, f"{key} is no valid id", hint)


def _check_host(key: str, value: str) -> None:
    if is_address(value):
        return
    if "://" in value:
        problem, hint = "is a URL", "write the name alone, without mqtts://"
    elif ":" in value:
        problem, hint = "has a port", "write the name alone; the port is given apart (--port), the SDKs use 8883"
    elif re.search(r"[\s/@]", value) or value.startswith(".") or ".." in value:
        problem, hint = "is no host name", "write a name like gw.factory.test, or an IP address"
    else:
        return
    raise ConnectionStringError("bad-value", key, f"{key} {problem}", hint)
