"""Client certificates as a test wants them, right or wrong."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.gateway.hub.identities import NOW

DAY = 86_400
UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def name(*values, oid=NameOID.COMMON_NAME):
    """A name of one attribute per value."""
    return x509.Name([x509.NameAttribute(oid, value) for value in values])


class Made:
    """A certificate with its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key
        self.der = certificate.public_bytes(Encoding.DER)

    @property
    def pem(self):
        """Certificate and key as PEM."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate.public_bytes(Encoding.PEM) + key


def make(subject, issuer=None, *, ca=None, days=(-1, 1), key=None, named=None, signed=None, extensions=(), aki=True):
    """A certificate signed by `issuer` (a Made; None: by itself).

    `ca` is (CA, path length) or None for no basic constraints; `days` its validity around NOW; `named` another issuer
    name and `signed` another key than the issuer's.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = subject if isinstance(subject, x509.Name) else name(subject)
    above = issuer.certificate.subject if issuer else subject
    signer = signed or (issuer.key if issuer else key)
    first, last = (datetime.datetime.fromtimestamp(NOW + one * DAY, datetime.UTC) for one in days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(named or above).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)
    )  # fmt: skip
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(*ca), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if aki and issuer is not None:
        pointer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(pointer, critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return Made(builder.sign(signer, hashes.SHA256()), key)


def hierarchy(device_id="press"):
    """Root, intermediate and device, as certGen.sh lays them out."""
    root = make("root", ca=(True, None), days=(-10, 10))
    middle = make("middle", root, ca=(True, None), days=(-10, 10))
    return root, middle, make(device_id, middle, ca=(False, None))
