"""Whether the certificates that a client sent in its handshake are good for a device.

Rules: a thumbprint is the device's own certificate and nothing else; a device of a certificate authority needs its id
as common name and a chain, built from what it sent and from this gateway's trust bundle, of which one certificate is in
that bundle. What IoT Hub knows of authorities plays no part, nor does the extended key usage. Whatever a client sends
costs a bounded number of signature checks, once per chain.
Sources: DeviceScopeCertificateAuthenticator.cs and CertificateHelper.cs of Azure/iotedge; X500NameEncoder.cs of
dotnet/runtime for the subject's text, in which the product looks for the common name; RFC 5280, section 6.1.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs import load_certificate
from certs.path import is_ca, is_pointed_to
from certs.x509io import extension, is_signed_by
from gateway.hub.identity import Identity
from gateway.hub.service_identity import Authentication, ServiceIdentity

_REMEMBERED = 1_024  # chains
_MOST_SENT = 10  # certificates above the client's own; the rest is not looked at
_MOST_CHECKS = 20  # signatures per chain
_LONGEST_PATH = 11  # the client's own certificate and ten above it
_UNREADABLE = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
_LABELS = {
    NameOID.COMMON_NAME: "CN", NameOID.COUNTRY_NAME: "C", NameOID.LOCALITY_NAME: "L", NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.STATE_OR_PROVINCE_NAME: "S", NameOID.EMAIL_ADDRESS: "E",
    NameOID.DOMAIN_COMPONENT: "DC", NameOID.SERIAL_NUMBER: "SERIALNUMBER",
}  # fmt: skip
_QUOTED = set(',+="\n<>#;')


class CertificateFault(StrEnum):
    """Why a certificate is refused, for the log line `Error authenticating certificate for X because ...`."""

    MODULE = "modules cannot authenticate with a certificate"
    NOT_ASKED_FOR = "the device does not authenticate with a certificate"
    UNREADABLE = "the certificate cannot be read"
    EXPIRED = "the certificate has expired"
    NOT_YET_VALID = "the certificate is not valid yet"
    THUMBPRINT = "the certificate's thumbprint is neither the primary nor the secondary one"
    COMMON_NAME = "the certificate's common name (CN) is not the device id"
    IS_CA = "the certificate is a CA certificate"
    CHAIN_UNREADABLE = "a certificate of its chain cannot be read"
    CHAIN_SIGNATURE = "a signature in its chain does not verify"
    CHAIN_NOT_CA = "a certificate of its chain may not issue certificates"
    CHAIN_TIME = "a certificate of its chain is not valid at this time"
    CHAIN_CRITICAL = "a certificate of its chain has a critical extension that nobody knows"
    CHAIN_TOO_LONG = "its chain is too long"
    NOT_TRUSTED = "no certificate of its chain is in the trust bundle"


@dataclass(slots=True)
class Shown:
    """What the client's own certificate says: subject as .NET writes it, validity in seconds since 1970 UTC."""

    subject: str
    not_before: float
    not_after: float
    is_ca: bool
    digests: frozenset[str]
    _chain: _Chain | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The verdict about a chain: a fault, or the time (seconds since 1970 UTC) in which all of it is valid."""

    fault: CertificateFault | None
    not_before: float = 0.0
    not_after: float = 0.0


class ClientCertificates:
    """Judges client certificates against one trust bundle."""

    def __init__(self, trust_bundle: Sequence[x509.Certificate]) -> None:
        self._bundle = tuple(trust_bundle)
        self._trusted = {_der(certificate) for certificate in trust_bundle}
        self._shown: OrderedDict[bytes, Shown | None] = OrderedDict()

    def shown(self, sent: Sequence[bytes]) -> Shown | None:
        """What the first of these certificates (DER) says; None when it cannot be read."""
        key = _key(sent)
        if key not in self._shown:
            self._shown[key] = _read(sent[0])
            if len(self._shown) > _REMEMBERED:
                self._shown.popitem(last=False)
        return self._shown[key]

    def fault(
        self, sent: Sequence[bytes], identity: Identity, known: ServiceIdentity, now: float
    ) -> CertificateFault | None:
        """Judge the certificates (DER, the client's own first) that `identity` shows; None means they are good."""
        if identity.module_id is not None:
            return CertificateFault.MODULE
        if known.authentication not in (Authentication.SELF_SIGNED, Authentication.CERTIFICATE_AUTHORITY):
            return CertificateFault.NOT_ASKED_FOR
        shown = self.shown(sent)
        if shown is None:
            return CertificateFault.UNREADABLE
        if known.authentication is Authentication.SELF_SIGNED:
            fault = _out_of_time(shown, now)
            own = shown.digests.isdisjoint(thumbprint.lower() for thumbprint in known.thumbprints)
            return fault or (CertificateFault.THUMBPRINT if own else None)
        if common_name_of(shown.subject) != known.device_id:
            return CertificateFault.COMMON_NAME
        return _out_of_time(shown, now) or self._chain_fault(sent, shown, now)

    def _chain_fault(self, sent: Sequence[bytes], shown: Shown, now: float) -> CertificateFault | None:
        if shown.is_ca:
            return CertificateFault.IS_CA
        if shown._chain is None:
            shown._chain = self._judge(sent)
        chain = shown._chain
        if chain.fault is not None:
            return chain.fault
        return None if chain.not_before <= now <= chain.not_after else CertificateFault.CHAIN_TIME

    def _judge(self, sent: Sequence[bytes]) -> _Chain:
        try:
            others = [load_certificate(one) for one in sent[1 : _MOST_SENT + 1]]
            path = _walk(load_certificate(sent[0]), [*others, *self._bundle])
            if isinstance(path, CertificateFault):
                return _Chain(path)
            if not _may_issue(path[1:]):
                return _Chain(CertificateFault.CHAIN_NOT_CA)
            if any(map(_has_unknown_critical, path)):
                return _Chain(CertificateFault.CHAIN_CRITICAL)
            if self._trusted.isdisjoint(map(_der, path)):
                return _Chain(CertificateFault.NOT_TRUSTED)
            first = max(one.not_valid_before_utc.timestamp() for one in path)
            return _Chain(None, first, min(one.not_valid_after_utc.timestamp() for one in path))
        except _UNREADABLE:
            return _Chain(CertificateFault.CHAIN_UNREADABLE)


def subject_text(name: x509.Name) -> str:
    """A name as .NET writes it: most specific part first, values quoted that hold special characters."""
    return ", ".join(" + ".join(map(_attribute_text, rdn)) for rdn in reversed(name.rdns))


def common_name_of(subject: str) -> str | None:
    """The common name as the product finds it in the text: between the first two '=' of the last part called CN."""
    found = None
    for part in filter(None, subject.split(",")):
        pieces = [piece for piece in part.strip().split("=") if piece]
        if part.strip()[:2].upper() == "CN" and len(pieces) > 1:
            found = pieces[1].strip()
    return found


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    raw = attribute.value
    value = raw if isinstance(raw, str) else raw.hex()
    label = _LABELS.get(attribute.oid, f"OID.{attribute.oid.dotted_string}")
    if not value or (_QUOTED.isdisjoint(value) and value == value.strip()):
        return f"{label}={value}"
    doubled = value.replace('"', '""')
    return f'{label}="{doubled}"'


def _read(der: bytes) -> Shown | None:
    try:
        certificate = load_certificate(der)
        return Shown(
            subject=subject_text(certificate.subject),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            is_ca=is_ca(certificate),
            digests=frozenset({hashlib.sha256(der).hexdigest(), hashlib.sha1(der).hexdigest()}),  # noqa: S324 - IoT Hub thumbprints may be SHA-1
        )
    except _UNREADABLE:
        # OpenSSL completes the handshake with certificates that break X.509.
        return None


def _out_of_time(shown: Shown, now: float) -> CertificateFault | None:
    if now > shown.not_after:
        return CertificateFault.EXPIRED
    return CertificateFault.NOT_YET_VALID if now < shown.not_before else None


def _walk(own: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate] | CertificateFault:
    """The way up by issuer name, key identifier and signature, as far as it goes: a missing issuer is no fault."""
    path, checks = [own], 0
    while len(path) <= _LONGEST_PATH:
        current, signer = path[-1], None
        named = [one for one in (current, *others) if one.subject == current.issuer and is_pointed_to(current, one)]
        for candidate in named:
            checks += 1
            if checks > _MOST_CHECKS:
                return CertificateFault.CHAIN_TOO_LONG
            if is_signed_by(current, candidate):
                signer = candidate
                break
        if signer is None:
            return CertificateFault.CHAIN_SIGNATURE if named else path
        if signer == current:
            return path
        path.append(signer)
    return CertificateFault.CHAIN_TOO_LONG


def _may_issue(issuers: Sequence[x509.Certificate]) -> bool:
    """Basic constraints, path length and key usage of the certificates above the client's own, lowest first."""
    below = 0  # authorities that are not self-issued
    for issuer in issuers:
        constraints = extension(issuer, x509.BasicConstraints)
        usage = extension(issuer, x509.KeyUsage)
        if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
            return False
        if constraints.path_length is not None and constraints.path_length < below:
            return False
        below += issuer.issuer != issuer.subject
    return True


def _has_unknown_critical(certificate: x509.Certificate) -> bool:
    return any(one.critical and isinstance(one.value, x509.UnrecognizedExtension) for one in certificate.extensions)


def _der(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def _key(sent: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for one in sent:
        digest.update(hashlib.sha256(one).digest())
    return digest.digest()
