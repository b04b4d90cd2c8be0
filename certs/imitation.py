"""A hierarchy made again from its public certificates: a field failure on one's desk, without the customer's keys.

Rule: a copy is the original byte for byte, but for the public key and the signature (and the dates, when they are
moved). So names, serial numbers, versions, extensions and their order are the same, and key identifiers fit each other
or do not as they did before: verifiers compare them and never compute them (RFC 5280, 4.2.1.1).
Rule: who signed what is found out by verifying, whatever the names say. The same key in the original is the same key in
the copy; what nobody here has signed is signed with a key that nobody here has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from certs import der, path
from certs.chain import FIRST_YEAR, Chain, Level, Role, Signer, Template
from certs.errors import CertsError
from certs.extensions import key_usage
from certs.keys import KeySource, PrivateKey, kind_of
from certs.names import common_name
from certs.workshop import Workshop
from certs.x509io import extension, has_signature_of, load_certificate, public_key_id

#: certificates with a new key: real hierarchies have ten at most, and every RSA key takes time
MOST = 50
_FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # "no well-defined expiration date", RFC 5280, 4.1.2.5
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


def imitate(
    served: Sequence[x509.Certificate],
    trust: Sequence[x509.Certificate] | None,
    *,
    hostname: str,
    generation: str = "documented",
    moved: timedelta = timedelta(),
    keys: KeySource | None = None,
    seed: int | None = None,
) -> Chain:
    """Return a chain of the same shape with keys of its own, which a gateway can serve.

    `served` are the certificates as they came, the server's first; `trust` is what the leaf trusts. Those that have
    nothing to do with the chain stay as they are. None: the leaf trusts the top of the chain, sent or not. `hostname`
    is what leaves call the gateway; all dates are moved by `moved`.
    Raises CertsError for what cannot be imitated: a key of a kind that TLS leaves of IoT Edge do not know, too many.
    """
    workshop = Workshop.of(keys=keys, seed=seed, now=None)
    copyist = _Copyist(workshop, timedelta(seconds=moved // timedelta(seconds=1)))
    related = _related(served, trust or ())
    copies = copyist.copy_all(related)
    new_served = tuple(copies[one] for one in served)
    new_trust = None if trust is None else tuple(copies.get(one, one) for one in trust)
    levels = _levels(path.find(new_served, new_trust or ()), copyist, {copies[one]: one for one in related})
    return Chain(hostname, generation, levels, new_served, new_trust or (levels[-1].certificate,), workshop)


def _related(served: Sequence[x509.Certificate], trust: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The served certificates, and the trusted ones that have a name or a key in common with them: each once."""
    found, left = list(dict.fromkeys(served)), [one for one in dict.fromkeys(trust) if one not in served]
    while True:
        names = {name.public_bytes() for one in found for name in (one.subject, one.issuer)}
        key_ids = {public_key_id(one) for one in found}
        near = [one for one in left if one.subject.public_bytes() in names or public_key_id(one) in key_ids]
        if len(found) + len(near) > MOST:
            raise CertsError(f"more than {MOST} certificates cannot be imitated", "a gateway sends ten at most")
        if not near:
            return found
        found += near
        left = [one for one in left if one not in near]


@dataclass
class _Copyist:
    """Keys for the originals' keys, and signatures for the originals' signatures."""

    workshop: Workshop
    moved: timedelta
    _keys: dict[bytes, PrivateKey] = field(default_factory=dict)  # by the original's public key
    _absent: dict[tuple[bytes, bytes, str], PrivateKey] = field(default_factory=dict)

    def copy_all(self, originals: Sequence[x509.Certificate]) -> dict[x509.Certificate, x509.Certificate]:
        """Copy certificates that belong together."""
        self._signers = {one: next((by for by in originals if _signed(one, by)), None) for one in originals}
        return {one: self._copy(one) for one in originals}

    def key(self, original: x509.Certificate) -> PrivateKey:
        """The new key of a certificate."""
        purpose = f"imitated-{len(self._keys) + 1}"
        identity = public_key_id(original)
        if identity not in self._keys:
            self._keys[identity] = self.workshop.key(_kind(original), purpose)
        return self._keys[identity]

    def signing_key(self, original: x509.Certificate) -> PrivateKey:
        """The new key of whoever signed a certificate."""
        signer = self._signers[original]
        if signer is not None:
            return self.key(signer)
        pointer = extension(original, x509.AuthorityKeyIdentifier)
        whose = (original.issuer.public_bytes(), (pointer and pointer.key_identifier) or b"", _signed_with(original))
        if whose not in self._absent:
            self._absent[whose] = self.workshop.key(whose[2], f"imitated-absent-{len(self._absent) + 1}")
        return self._absent[whose]

    def _copy(self, original: x509.Certificate) -> x509.Certificate:
        parts = der.parts(original.tbs_certificate_bytes)
        first = 1 if parts[0][0] == 0xA0 else 0  # version, which certificates of version 1 leave out (RFC 5280, 4.1)
        public = self.key(original).public_key()
        parts[first + 5] = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if self.moved:
            parts[first + 3] = _validity(original, self.moved)
        tbs = der.value(der.SEQUENCE, b"".join(parts))
        _, algorithm, _ = der.parts(original.public_bytes(serialization.Encoding.DER))
        signature = _sign_alike(self.signing_key(original), tbs, original)
        return load_certificate(der.certificate(tbs, algorithm, signature))


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        return has_signature_of(certificate, by.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return False


def _kind(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        key = None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _strange(certificate, "its key is neither RSA nor of a known curve")
    return kind_of(key)


def _signed_with(certificate: x509.Certificate) -> str:
    """The kind of the key that made a signature, as far as the signature tells."""
    oid = certificate.signature_algorithm_oid.dotted_string
    if oid.startswith("1.2.840.113549.1.1."):  # PKCS #1
        return f"rsa{len(certificate.signature) * 8}"
    if not oid.startswith("1.2.840.10045.4."):  # ANSI X9.62, signatures
        raise _strange(certificate, "its signature is neither RSA nor ECDSA")
    longest = max(number.bit_length() for number in utils.decode_dss_signature(certificate.signature))
    return "ec" if longest <= 256 else "ec384" if longest <= 384 else "ec521"


def _sign_alike(key: PrivateKey, tbs: bytes, original: x509.Certificate) -> bytes:
    """Sign with the algorithm of the original's signature."""
    try:
        how, digest = original.signature_algorithm_parameters, original.signature_hash_algorithm
        if isinstance(key, ec.EllipticCurvePrivateKey) and digest is not None:
            return key.sign(tbs, ec.ECDSA(digest, deterministic_signing=True))
        if isinstance(key, rsa.RSAPrivateKey) and isinstance(how, padding.PKCS1v15 | padding.PSS) and digest:
            return key.sign(tbs, how, digest)
    except (UnsupportedAlgorithm, ValueError):
        pass
    raise _strange(original, "its signature algorithm is not supported here")


def _strange(certificate: x509.Certificate, why: str) -> CertsError:
    name = common_name(certificate.subject) or "a certificate without a common name"
    return CertsError(f'"{name}" cannot be imitated: {why}', "openssl x509 -text shows it")


def _validity(original: x509.Certificate, span: timedelta) -> bytes:
    """The validity moved by `span`, in seconds; what never ends still never ends."""
    times = original.not_valid_before_utc, original.not_valid_after_utc
    try:
        moved = [time if time == _FOREVER else time + span for time in times]
    except OverflowError:
        moved = []
    if not moved or moved[0].year < FIRST_YEAR:
        raise CertsError(f"certificates cannot be moved by {span.days} days", f"they are from {FIRST_YEAR} to 9999")
    return der.value(der.SEQUENCE, b"".join(map(_time, moved)))


def _time(time: datetime) -> bytes:
    """UTCTime through 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5)."""
    if time.year < 2050:
        return der.value(_UTC_TIME, f"{time:%y%m%d%H%M%SZ}".encode())
    return der.value(_GENERALIZED_TIME, f"{time:%Y%m%d%H%M%SZ}".encode())


def _levels(
    walked: path.Path, copyist: _Copyist, originals: dict[x509.Certificate, x509.Certificate]
) -> tuple[Level, ...]:
    """The way up as levels that can be issued again; an authority that is not there gets a stand-in at the top."""
    levels: list[Level] = []
    for certificate, role in zip(walked.certificates, walked.roles, strict=True):
        original = originals[certificate]
        signer = None
        if not path.is_self_signed(certificate):
            signer = Signer(certificate.issuer, copyist.signing_key(original))
        template = _template(certificate)
        levels.append(Level(role if levels else Role.SERVER, template, certificate, copyist.key(original), signer))
    if levels[-1].signer is not None:
        levels.append(_stand_in(levels[-1], copyist.workshop.serial("imitated-root")))
    return tuple(levels)


def _template(certificate: x509.Certificate) -> Template:
    try:
        return Template.of(certificate)
    except (ValueError, x509.DuplicateExtension):
        raise _strange(certificate, "an extension in it is damaged") from None


def _stand_in(below: Level, serial: int) -> Level:
    """The authority that signed and is nowhere to be seen."""
    assert below.signer is not None
    subject_id = x509.SubjectKeyIdentifier.from_public_key(below.signer.key.public_key())
    pointer = below.template.get(x509.AuthorityKeyIdentifier)
    if pointer is not None:
        subject_id = x509.SubjectKeyIdentifier(pointer.key_identifier or subject_id.digest)
        serial = pointer.authority_cert_serial_number or serial
    usage = key_usage(["key_cert_sign", "crl_sign"])
    extensions = ((x509.BasicConstraints(ca=True, path_length=None), True), (usage, True), (subject_id, False))
    template = replace(below.template, subject=below.signer.name, serial=serial, extensions=extensions)
    return Level.issue(Role.ROOT, template, below.signer.key)
