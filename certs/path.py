"""From the certificates a server sends to the path a verifier walks, and the part that each certificate plays in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.chain import Role
from certs.names import common_name
from certs.x509io import extension, is_signed_by, serial_of


@dataclass(frozen=True)
class Step:
    """One certificate of the path; `index` is its place among the sent ones, None for a trusted one not sent."""

    certificate: x509.Certificate
    index: int | None


@dataclass(frozen=True)
class Path:
    """The way up from the first certificate: `steps` leaf first, and how it ended."""

    steps: tuple[Step, ...]
    missing: x509.Name | None = None  # the issuer that is neither sent nor trusted
    wrong_key: Step | None = None  # the issuer of the right name whose key did not sign
    unused: tuple[int, ...] = field(default=())  # sent, but no part of the path

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates of the path."""
        return tuple(step.certificate for step in self.steps)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The part each step plays."""
        return tuple(_roles(self.certificates))


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether the certificate says CA:TRUE."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Tell whether the certificate's own key signed it (that issuer and subject are equal is not enough)."""
    return certificate.issuer == certificate.subject and is_signed_by(certificate, certificate)


def is_pointed_to(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the authority key identifier, as far as it says something, means that issuer (RFC 5280, 4.2.1.1)."""
    pointer = extension(certificate, x509.AuthorityKeyIdentifier)
    if pointer is None:
        return True
    subject = extension(issuer, x509.SubjectKeyIdentifier)
    if pointer.key_identifier is not None and subject is not None and pointer.key_identifier != subject.digest:
        return False
    if pointer.authority_cert_issuer is None:
        return True
    names = [name.value for name in pointer.authority_cert_issuer if isinstance(name, x509.DirectoryName)]
    return pointer.authority_cert_serial_number == serial_of(issuer) and (not names or issuer.issuer in names)


def find(sent: Sequence[x509.Certificate], trust: Sequence[x509.Certificate] = ()) -> Path:
    """Walk from the first certificate up, by issuer name and signature, among the trusted and the sent ones."""
    steps = [Step(sent[0], 0)]
    # trusted ones first, as OpenSSL does since 1.1.0 (X509_V_FLAG_TRUSTED_FIRST)
    known = [Step(one, None) for one in trust if one not in sent] + [Step(one, at) for at, one in enumerate(sent)]
    missing, wrong_key = None, None
    while not is_self_signed(current := steps[-1].certificate):
        walked = [step.certificate for step in steps]
        named = [one for one in known if one.certificate.subject == current.issuer and one.certificate not in walked]
        signers = [one for one in named if is_signed_by(current, one.certificate)]
        if signers:
            steps.append(next((one for one in signers if is_pointed_to(current, one.certificate)), signers[0]))
            continue
        wrong_key, missing = (named[0], None) if named else (None, current.issuer)
        break
    used = {step.certificate for step in steps}
    unused = tuple(at for at, one in enumerate(sent) if one not in used)
    return Path(tuple(steps), missing, wrong_key, unused)


def _roles(path: Sequence[x509.Certificate]) -> list[Role]:
    """Recognise roles from names, extensions and position: certificates do not say them."""
    roles: list[Role] = []
    for certificate in path:
        below = roles[-1] if roles else None
        roles.append(_role(certificate, below))
    return roles


def _role(certificate: x509.Certificate, below: Role | None) -> Role:
    name = common_name(certificate.subject).lower()
    if below is None and (not is_ca(certificate) or _is_for_servers(certificate)):
        return _end_role(certificate)
    if name.startswith(("iotedge workload ca", "iotedged workload ca")):
        return Role.WORKLOAD_CA
    if name.startswith(("aziot-edge ca", "test edge device ca")) or name.endswith(".ca"):
        return Role.DEVICE_CA
    if is_self_signed(certificate):
        return Role.ROOT
    if below in (Role.SERVER, Role.WORKLOAD_CA) and "intermediate" not in name:
        return Role.DEVICE_CA
    return Role.INTERMEDIATE


def _is_for_servers(certificate: x509.Certificate) -> bool:
    usage = extension(certificate, x509.ExtendedKeyUsage)
    return usage is not None and ExtendedKeyUsageOID.SERVER_AUTH in usage


def _end_role(certificate: x509.Certificate) -> Role:
    usage = extension(certificate, x509.ExtendedKeyUsage)
    for_clients = usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH in usage
    return Role.DEVICE if for_clients and not _is_for_servers(certificate) else Role.SERVER
