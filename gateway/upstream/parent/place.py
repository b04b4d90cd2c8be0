"""Where the gateway above is, and who this one is to it.

Rule: the key and the tokens made with it never show in a repr, an error or the log.
Sources: IoT Hub documentation, "Control access to IoT Hub with shared access signatures" (tokens); Azure/iotedge,
IOTEDGE_PARENTHOSTNAME in edge-hub (ports 8883 and 443 of the parent host name).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from gateway.errors import GatewayError
from gateway.hub.authchain import EDGE_HUB
from gateway.upstream.parent.errors import words

_HINT = "take the connection string of this gateway's own edge device: HostName=...;DeviceId=...;SharedAccessKey=..."
_KEYS = ("HostName", "DeviceId", "ModuleId", "SharedAccessKey", "GatewayHostName")


@dataclass(frozen=True, slots=True)
class Parent:
    """The gateway above, and the edge device that this gateway is to it.

    `hostname` is the name in its certificate; `address` is where TCP goes instead (address, MQTT port, HTTPS port).
    `key` belongs to the edge device, or to its $edgeHub if `is_module`.
    """

    hostname: str
    hub_hostname: str
    device_id: str
    key: str = field(repr=False)
    is_module: bool = False
    address: tuple[str, int, int] | None = None

    @classmethod
    def read(cls, hostname: str, connection: str, address: tuple[str, int, int] | None = None) -> Parent:
        """Read a connection string. Raises GatewayError, which never repeats a value."""
        parts = dict(_pairs(connection))
        for name in ("HostName", "DeviceId", "SharedAccessKey"):
            if not parts.get(name):
                raise GatewayError(f"the connection string for the parent has no {name}", _HINT)
        if parts.get("ModuleId", EDGE_HUB) != EDGE_HUB:
            raise GatewayError(f"the connection string for the parent is of a module other than {EDGE_HUB}", _HINT)
        try:
            base64.b64decode(parts["SharedAccessKey"], validate=True)
        except (binascii.Error, ValueError):
            raise GatewayError("the key in the connection string for the parent is not base64", _HINT) from None
        if not hostname.strip():
            raise GatewayError("the parent's host name is empty", "give the name that is in its certificate")
        is_module = "ModuleId" in parts
        return cls(hostname, parts["HostName"], parts["DeviceId"], parts["SharedAccessKey"], is_module, address)

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where MQTT is."""
        return (self.hostname, 8883) if self.address is None else (self.address[0], self.address[1])

    @property
    def https(self) -> tuple[str, int]:
        """Where HTTPS is."""
        return (self.hostname, 443) if self.address is None else (self.address[0], self.address[2])

    def token(self, key: str, module_id: str | None, expires: float) -> str:
        """A token of the edge device, or of a module of it, until `expires` seconds since 1970."""
        module = "" if module_id is None else f"/modules/{module_id}"
        resource = quote(f"{self.hub_hostname}/devices/{self.device_id}{module}", safe="")
        signed = f"{resource}\n{int(expires)}".encode()
        digest = hmac.digest(base64.b64decode(key), signed, hashlib.sha256)
        signature = quote(base64.b64encode(digest), safe="")
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={int(expires)}"


def trust(pem: bytes) -> ssl.SSLContext:
    """A context that trusts the gateway above by these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem.decode("ascii"))
    return context


def read_trust(path: Path) -> ssl.SSLContext:
    """The same with the certificates of a file, which is not needed any more afterwards. Raises GatewayError."""
    try:
        return trust(path.read_bytes())
    except (OSError, ValueError, ssl.SSLError) as wrong:
        reason = "no certificate in it can be read"
        if isinstance(wrong, OSError) and not isinstance(wrong, ssl.SSLError):
            reason = words(wrong)
        hint = "give the parent's root certificate as PEM; `leafgate up` prints where its root.pem is"
        raise GatewayError(f"cannot use {path} to trust the parent: {reason}", hint) from None


def _pairs(text: str) -> list[tuple[str, str]]:
    found = []
    for part in text.strip().split(";"):
        name, equals, value = part.partition("=")
        if not equals or name not in _KEYS:
            raise GatewayError("the connection string for the parent cannot be read", _HINT)
        found.append((name, value))
    return found
