"""What a client shows for being who it says, and whether that is enough.

Rule: a password is judged alone, whatever certificate comes with it; only when there is none is the certificate judged.
Sources: DeviceIdentityProvider.cs, DeviceScopeTokenAuthenticator.cs and DeviceScopeCertificateAuthenticator.cs of
Azure/iotedge.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from cryptography import x509

from gateway.hub.auth import SasToken, TokenFault, check_expiry, check_token, parse_token
from gateway.hub.certificates import ClientCertificates
from gateway.hub.identity import Identity
from gateway.hub.service_identity import Authentication, ServiceIdentity


class Proof(NamedTuple):
    """Whom a client says to be, and its password or the certificates (DER, its own first) it showed for it.

    `acting`: the identity is that of an Edge Hub that speaks for another one, so only its own key counts.
    """

    identity: Identity
    password: bytes | None
    certificates: Sequence[bytes]
    acting: bool = False

    def __repr__(self) -> str:
        """Neither the password nor the certificates."""
        return f"Proof({self.identity.client_id!r})"


class Rules:
    """The rules of one gateway: `hosts` are its own and the hub's name in lower case, `token_skew` seconds."""

    def __init__(
        self, hosts: Collection[str], token_skew: float, trust_bundle: Sequence[x509.Certificate] = ()
    ) -> None:
        self._hosts = hosts
        self._token_skew = token_skew
        self.certificates = ClientCertificates(trust_bundle)

    def unusable(self, proof: Proof, now: float) -> TokenFault | None:
        """What is wrong with a proof whoever it is for: such a one is refused without asking anybody."""
        token = self._token(proof, now)
        return token if isinstance(token, TokenFault) else None

    def objection(self, proof: Proof, known: ServiceIdentity | None, now: float) -> str:
        """What speaks against the proof, judged by the identity `known`; empty when it is good.

        `known` is the client's own identity or, for a module with a token, its device's.
        """
        token = self._token(proof, now)
        if isinstance(token, TokenFault):
            return token
        if known is None:
            return f"{proof.identity.client_id} is not in the scope of this gateway"
        if token is None:
            if proof.identity.module_id is None and not known.enabled:
                return f"{known.client_id} is disabled"
            return self.certificates.fault(proof.certificates, proof.identity, known, now) or ""
        if known.authentication is not Authentication.SAS:
            return TokenFault.NOT_ASKED_FOR
        if not known.enabled:
            return f"{known.client_id} is disabled"
        return check_token(token, proof.identity, keys=known.keys, hosts=self._hosts) or ""

    def _token(self, proof: Proof, now: float) -> SasToken | TokenFault | None:
        if not proof.password:
            return None
        token = parse_token(proof.password.decode("utf-8", errors="replace"))
        return TokenFault.MALFORMED if token is None else check_expiry(token, now, self._token_skew) or token
