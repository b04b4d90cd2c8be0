"""Whether a client may connect, and with which CONNACK code.

Rule: every CONNACK code is decided here, from the table of what the product answers: 1 for another protocol level, 3
when the identity cannot even be read, 5 for everything that concerns authentication; 2 and 4 are never used.
Sources: MqttAdapter.cs (Azure/azure-iot-protocol-gateway), DeviceIdentityProvider.cs (Azure/iotedge).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from gateway.hub.auth import TokenFault, check_token
from gateway.hub.identity import Identity, UsernameError, parse_username


class ConnackCode(IntEnum):
    """Return codes of MQTT 3.1.1 section 3.2.2.3 that Edge Hub uses."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    SERVER_UNAVAILABLE = 3
    NOT_AUTHORIZED = 5


class CertificateFault(StrEnum):
    """Why a certificate is refused, for the log line `Error authenticating certificate for X because ...`."""

    MODULE = "modules cannot authenticate with a certificate"
    NOT_ASKED_FOR = "the device does not authenticate with a certificate"
    THUMBPRINT = "the certificate's thumbprint is neither the primary nor the secondary one"
    EXPIRED = "the certificate has expired"
    NOT_YET_VALID = "the certificate is not valid yet"


@dataclass(frozen=True, slots=True)
class Will:
    """What the gateway says in the client's name when the connection breaks."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet of MQTT 3.1.1; `keep_alive` in seconds. The password never shows in a repr."""

    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)
    clean_session: bool
    keep_alive: int
    will: Will | None


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate a client showed in the handshake: its DER bytes and validity in seconds since 1970 UTC."""

    der: bytes
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the registry knows of an identity: base64 keys or hex thumbprints, and whether it is enabled."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    thumbprints: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a CONNECT; `reason` says in words why it is not 0."""

    code: int
    identity: Identity | None
    reason: str


@dataclass(frozen=True, slots=True)
class Admission:
    """The gateway's side of the judgement: whom it knows, under which names, and how late a token may be (seconds)."""

    find: Callable[[Identity], Credentials | None]
    hosts: Collection[str]
    token_skew: float

    def judge(self, connect: Connect, certificate: ClientCertificate | None, now: float) -> Verdict:
        """Decide about a CONNECT of MQTT 3.1.1 that arrived at `now` (seconds since 1970 UTC)."""
        try:
            identity = parse_username(connect.username or "")
        except UsernameError as wrong:
            return Verdict(ConnackCode.SERVER_UNAVAILABLE, None, f"the user name cannot be read: {wrong}")
        if not connect.client_id.strip():
            return Verdict(ConnackCode.SERVER_UNAVAILABLE, identity, "the client id is blank")
        reason = self._objection(connect, identity, certificate, now)
        code = ConnackCode.NOT_AUTHORIZED if reason else ConnackCode.ACCEPTED
        return Verdict(code, identity, reason or "")

    def _objection(
        self, connect: Connect, identity: Identity, certificate: ClientCertificate | None, now: float
    ) -> str | None:
        if connect.client_id != identity.client_id:
            return f"the client id {connect.client_id!r} is not {identity.client_id!r} as the user name says"
        if not connect.password and certificate is None:
            return "neither token nor certificate was given"
        known = self.find(identity)
        if known is None:
            return f"{identity.client_id} is not in the scope of this gateway"
        if not known.enabled:
            return f"{identity.client_id} is disabled"
        if connect.password:  # the product looks at the certificate only when there is no password
            return self._token_objection(connect.password, identity, known, now)
        assert certificate is not None
        return _certificate_objection(certificate, identity, known, now)

    def _token_objection(self, password: bytes, identity: Identity, known: Credentials, now: float) -> str | None:
        if not known.keys:
            return TokenFault.NOT_ASKED_FOR
        text = password.decode("utf-8", errors="replace")
        return check_token(text, identity, keys=known.keys, hosts=self.hosts, now=now, skew=self.token_skew)


def _certificate_objection(
    certificate: ClientCertificate, identity: Identity, known: Credentials, now: float
) -> CertificateFault | None:
    if identity.module_id is not None:
        return CertificateFault.MODULE
    if not known.thumbprints:
        return CertificateFault.NOT_ASKED_FOR
    digests = {hashlib.sha256(certificate.der).hexdigest(), hashlib.sha1(certificate.der).hexdigest()}  # noqa: S324 - IoT Hub thumbprints may be SHA-1
    if digests.isdisjoint(thumbprint.lower() for thumbprint in known.thumbprints):
        return CertificateFault.THUMBPRINT
    if now > certificate.not_after:
        return CertificateFault.EXPIRED
    return CertificateFault.NOT_YET_VALID if now < certificate.not_before else None
