"""How a leaf proves who it is: SAS tokens and client certificates.

Rule: the signature and the key never show in a repr. Format: "Control access to IoT Hub by using Shared Access
Signatures", in the field order of the real device SDKs: sr, sig, se; no skn.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from leafsim.connection import decode_key


@dataclass(frozen=True)
class SasToken:
    """A token for one resource until one second; `str()` is what goes on the wire."""

    resource: str  # not encoded: hub/devices/dev1
    expires: int
    signature: str = field(repr=False)

    @classmethod
    def sign(cls, resource: str, key: str, expires: int) -> SasToken:
        """Sign with a base64 key; the encoded resource is what is signed."""
        signed = f"{quote(resource, safe='')}\n{expires}".encode()
        digest = hmac.new(decode_key(key), signed, hashlib.sha256).digest()
        return cls(resource, expires, base64.b64encode(digest).decode())

    def __str__(self) -> str:
        """Return the text of the token."""
        where, signature = quote(self.resource, safe=""), quote(self.signature, safe="")
        return f"SharedAccessSignature sr={where}&sig={signature}&se={self.expires}"


def sas_token(resource: str, key: str, expires: int) -> str:
    """Return a token's text for `hub/devices/dev[/modules/mod]`, until `expires` seconds since 1970."""
    return str(SasToken.sign(resource, key, expires))


@dataclass(frozen=True)
class ClientCertificate:
    """The files of a certificate (with its intermediates, leaf first) and of its private key, PEM both."""

    certificate: Path
    key: Path
