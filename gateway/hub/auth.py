"""Whether a SAS token is good.

Rule: every rule about tokens lives here; a fault names the rule and never repeats the token.
Sources: SharedAccessSignature.cs (edge-util) and DeviceScopeTokenAuthenticator.cs in Azure/iotedge.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from gateway.hub.identity import Identity

PREFIX = "SharedAccessSignature "


class TokenFault(StrEnum):
    """Why a token is refused, in the words of the product's log line `Error authenticating token for X because ...`."""

    MALFORMED = "the token is not a SharedAccessSignature with sr, sig and se"
    AUDIENCE = "the audience does not name this device or module"
    HOST = "the audience host is neither the IoT hub nor this gateway"
    KEY = "the signature matches neither the primary nor the secondary key"
    EXPIRED = "the token has expired"
    NOT_ASKED_FOR = "the device does not authenticate with keys"


@dataclass(frozen=True, slots=True)
class SasToken:
    """A parsed token; `resource` is `sr` exactly as sent, which is what was signed.

    `policy` is skn, which names the key of a back end's token and means nothing in a device's.
    """

    resource: str
    signature: str
    expiry_text: str
    expiry: float
    policy: str = ""

    def __repr__(self) -> str:
        """The token without its signature."""
        return f"SasToken(resource={self.resource!r}, expiry={self.expiry_text!r})"


def parse_token(text: str) -> SasToken | None:
    """Read a token; None when it is none.

    It starts with `SharedAccessSignature` and has exactly one blank; field names may have any case.
    `se` is read as a floating-point number, so a time in milliseconds is simply far in the future.
    """
    rest = text.removeprefix(PREFIX)
    if rest == text or rest.split() != [rest]:
        return None
    fields: dict[str, str] = {}
    for part in rest.split("&"):
        name, equals, value = part.partition("=")
        if not equals:
            return None
        fields[name.lower()] = value
    try:
        expiry = float(fields["se"])
        token = SasToken(fields["sr"], unquote(fields["sig"]), fields["se"], expiry, unquote(fields.get("skn", "")))
    except (KeyError, ValueError):
        return None
    return token if math.isfinite(expiry) else None


def check_expiry(token: SasToken, now: float, skew: float) -> TokenFault | None:
    """Judge the time of a token, which the product does while it reads it; `now` and `skew` are seconds."""
    return TokenFault.EXPIRED if token.expiry + skew < now else None


def check_token(
    token: SasToken, identity: Identity, *, keys: Iterable[str], hosts: Collection[str]
) -> TokenFault | None:
    """Judge a token that has not expired for `identity`; None means it is good.

    `keys` are base64 keys; `hosts` are lower-case names of the hub and of this gateway. Of the audience the product
    compares the host, the device and, if it has five parts, the module; a module may show its device's audience.
    """
    if not any(signed_with(token, key) for key in keys):
        return TokenFault.KEY
    audience = unquote(token.resource).split("/")
    if not _names(audience, identity):
        return TokenFault.AUDIENCE
    return None if audience[0].lower() in hosts else TokenFault.HOST


def _names(audience: list[str], identity: Identity) -> bool:
    if len(audience) not in (3, 5) or audience[2].lower() != identity.device_id.lower():
        return False
    if len(audience) == 3:
        return True
    return identity.module_id is not None and audience[4].lower() == identity.module_id.lower()


def signed_with(token: SasToken, key: str) -> bool:
    """Whether this key (base64) has signed the token."""
    try:
        secret = base64.b64decode(key, validate=True)
        claimed = base64.b64decode(token.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    signed = f"{token.resource}\n{token.expiry_text}".encode()
    return hmac.compare_digest(hmac.digest(secret, signed, hashlib.sha256), claimed)
