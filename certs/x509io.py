"""Reading and signing X.509 beyond what cryptography's builder allows.

Rule: whoever reads a certificate in this project does it here. Edge Hub's server certificates of 1.2 and later have
serial number 0, for which cryptography warns on every reading; that warning is about the product, not about the
user, and is silenced for that one message only.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certs.keys import PrivateKey

Extensions = Sequence[tuple[x509.ExtensionType, bool]]
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)

_HASH = hashes.SHA256()
_ONE_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_quiet_lock = threading.Lock()  # catch_warnings swaps a list of the whole process


@contextmanager
def _zero_serial_allowed() -> Iterator[None]:
    with _quiet_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")
        yield


def load_certificate(data: bytes) -> x509.Certificate:
    """Read one certificate, PEM or DER; ValueError when it is none."""
    with _zero_serial_allowed():
        return x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)


def load_certificates(pem: bytes) -> list[x509.Certificate]:
    """Read all certificates of a PEM file in file order, passing over anything else in it."""
    return [load_certificate(one) for one in _ONE_PEM.findall(pem)]


def serial_of(certificate: x509.Certificate) -> int:
    """Return the serial number, 0 included."""
    with _zero_serial_allowed():
        return certificate.serial_number


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
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


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
    return certificate if serial else _with_serial_zero(certificate, issuer_key)


def _with_serial_zero(certificate: x509.Certificate, issuer_key: PrivateKey) -> x509.Certificate:
    """Sign again with serial 0, which the builder refuses: in the DER, INTEGER 1 becomes INTEGER 0, same length.

    The TBSCertificate starts with its header, [0] EXPLICIT version 2 (a0 03 02 01 02), then the serial number
    (RFC 5280, 4.1), so the first match is the right one.
    """
    old = certificate.tbs_certificate_bytes
    version = b"\xa0\x03\x02\x01\x02"
    tbs = old.replace(version + b"\x02\x01\x01", version + b"\x02\x01\x00", 1)
    whole = certificate.public_bytes(DER)
    algorithm_start = whole.index(old) + len(old)
    algorithm = whole[algorithm_start : algorithm_start + 2 + whole[algorithm_start + 1]]
    if isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        signature = issuer_key.sign(tbs, ec.ECDSA(_HASH, deterministic_signing=True))
    else:
        signature = issuer_key.sign(tbs, padding.PKCS1v15(), _HASH)
    return load_certificate(_tlv(0x30, tbs + algorithm + _tlv(0x03, b"\x00" + signature)))


def _tlv(tag: int, content: bytes) -> bytes:
    """Return a DER value with its tag and length (X.690, 8.1.3)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)
