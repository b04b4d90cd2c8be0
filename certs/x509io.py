"""Reading and signing X.509 beyond what cryptography's builder allows.

Rule: whoever reads a certificate in this project does it here. Edge Hub's server certificates of 1.2 and later have
serial number 0, and some names are longer than RFC 5280 allows; cryptography warns of both. Those warnings are about
the product, not about the user, and are silenced for these two messages only.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certs import der
from certs.keys import PrivateKey

Extensions = Sequence[tuple[x509.ExtensionType, bool]]
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)

_HASH = hashes.SHA256()
_LONGEST_NAME = 64  # ub-common-name and others, RFC 5280 appendix A
_ONE_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_quiet_lock = threading.Lock()  # catch_warnings swaps a list of the whole process


@contextmanager
def _anything_allowed() -> Iterator[None]:
    with _quiet_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")
        warnings.filterwarnings("ignore", message="Attribute's length must be")
        yield


def load_certificate(data: bytes) -> x509.Certificate:
    """Read one certificate, PEM or DER; ValueError when it is none."""
    with _anything_allowed():
        found = x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)
        return _names_read(found)


def load_certificates(pem: bytes) -> list[x509.Certificate]:
    """Read all certificates of a PEM file in file order, passing over anything else in it."""
    return [load_certificate(one) for one in _ONE_PEM.findall(pem)]


def serial_of(certificate: x509.Certificate) -> int:
    """Return the serial number, 0 included."""
    with _anything_allowed():
        return certificate.serial_number


def _names_read(certificate: x509.Certificate) -> x509.Certificate:
    """Let cryptography read both names now, and keep them: it complains only the first time."""
    with suppress(ValueError):
        _ = certificate.subject, certificate.issuer
    return certificate


def to_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as one PEM file, in that order."""
    return b"".join(certificate.public_bytes(PEM) for certificate in certificates)


def extension(certificate: x509.Certificate, kind: type[ExtensionValue]) -> ExtensionValue | None:
    """Return the certificate's extension of that type; one that cannot be read counts as absent, as for a verifier."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def public_key_id(certificate: x509.Certificate) -> bytes:
    """Return what tells keys apart: the subjectPublicKeyInfo."""
    try:
        return certificate.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (UnsupportedAlgorithm, ValueError):
        return certificate.fingerprint(_HASH)  # a key of a kind unknown here is no other certificate's


def rsa_bits(certificate: x509.Certificate) -> int | None:
    """Return the length of the certificate's RSA key, None when it has another kind of key."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else None


def key_id(key: PrivateKey) -> bytes:
    """Return the same for a private key."""
    return key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` is named as issuer and its key made the signature."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        return has_signature_of(certificate, issuer.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return False


def has_signature_of(certificate: x509.Certificate, key: CertificatePublicKeyTypes) -> bool:
    """Tell whether that key made the signature, whoever is named as issuer."""
    signed, signature = certificate.tbs_certificate_bytes, certificate.signature
    try:
        how, digest = certificate.signature_algorithm_parameters, certificate.signature_hash_algorithm
        match key, how:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if digest is not None:
                key.verify(signature, signed, how, digest)
            case ec.EllipticCurvePublicKey(), ec.ECDSA() | None if digest is not None:  # None for ECDSA with SHA-1
                key.verify(signature, signed, ec.ECDSA(digest))
            case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), None):
                key.verify(signature, signed)
            case _:
                return False
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def signature_digest(certificate: x509.Certificate) -> str | None:
    """Return the name of the hash that was signed, None when it is unknown or there is none."""
    try:
        found = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return found.name if found else None


def sign(
    *,
    subject: x509.Name,
    public_key: CertificatePublicKeyTypes,
    not_before: datetime,
    not_after: datetime,
    serial: int,
    extensions: Extensions,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    sha1: bool = False,
) -> x509.Certificate:
    """Sign a certificate. ECDSA signatures are deterministic (RFC 6979): the same content gives the same bytes."""
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=serial or 1,
        not_valid_before=_naive(not_before),
        not_valid_after=_naive(not_after),
        extensions=[x509.Extension(value.oid, critical, value) for value, critical in extensions],
    )
    deterministic = True if isinstance(issuer_key, ec.EllipticCurvePrivateKey) else None
    certificate = builder.sign(issuer_key, _HASH, ecdsa_deterministic=deterministic)
    if any(len(attribute.value) > _LONGEST_NAME for attribute in (*subject, *issuer)):
        with _anything_allowed():
            _names_read(certificate)
    return certificate if serial and not sha1 else _signed_again(certificate, issuer_key, serial, sha1)


#: AlgorithmIdentifiers (RFC 3279, 2.2.1 and 2.2.3; RFC 5758, 3.2)
_ALGORITHMS = {
    ("rsa", True): bytes.fromhex("300d06092a864886f70d0101050500"),
    ("rsa", False): bytes.fromhex("300d06092a864886f70d01010b0500"),
    ("ec", True): bytes.fromhex("300906072a8648ce3d0401"),
    ("ec", False): bytes.fromhex("300a06082a8648ce3d040302"),
}


def _signed_again(certificate: x509.Certificate, issuer_key: PrivateKey, serial: int, sha1: bool) -> x509.Certificate:
    """Sign again with what the builder refuses: serial number 0, or SHA-1.

    A TBSCertificate begins with [0] version, serial number and signature algorithm (RFC 5280, 4.1).
    """
    kind = "ec" if isinstance(issuer_key, ec.EllipticCurvePrivateKey) else "rsa"
    algorithm = _ALGORITHMS[kind, sha1]
    version, old_serial, _, *rest = der.parts(certificate.tbs_certificate_bytes)
    new_serial = old_serial if serial else b"\x02\x01\x00"
    tbs = der.value(der.SEQUENCE, b"".join((version, new_serial, algorithm, *rest)))
    digest = hashes.SHA1() if sha1 else _HASH  # noqa: S303 - a broken signature is what is asked for
    if isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        signature = issuer_key.sign(tbs, ec.ECDSA(digest, deterministic_signing=True))
    else:
        signature = issuer_key.sign(tbs, padding.PKCS1v15(), digest)
    return load_certificate(der.certificate(tbs, algorithm, signature))


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)
