"""Checks of the certificates and keys that the configuration names: device CA, trust bundle, identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certs.findings import cn
from certs.rules.validity import outside
from certs.x509io import key_id, public_key_id
from scenarios.check import pemfiles
from scenarios.check.model import Fact, Finding, Looked, NotApplicable, check, error, warning
from scenarios.check.subject import EDGE_CA, IDENTITY, TRUST_BUNDLE, Preloaded, Subject

SOON = timedelta(days=7)  # the product's, aziotctl/src/internal/check/util
QUICKSTART_SOON = timedelta(days=90)  # certificates_quickstart.rs
_LONGEST = 100  # OpenSSL's default verify depth (SSL_CTX_set_verify_depth)


@check("certs-read", "configured certificates can be read")
def certs_read(subject: Subject) -> Looked:
    """Every certificate file is there and holds PEM certificates; the product asks its certificate service."""
    for one in _files(subject):
        if isinstance(one.certificate, str):
            yield Fact(one.id, one.certificate)
            continue
        found = subject.certificates_in(one.certificate)
        yield Fact(one.id, {"path": str(one.certificate), "certificates": len(found.certificates)})
        if found.wrong:
            yield error(f"{_named(one)}: {found.wrong}")
        else:
            yield from _too_many(one, len(found.certificates))


def _too_many(one: Preloaded, count: int) -> Iterator[Finding]:
    if one.id != TRUST_BUNDLE and count > _LONGEST:
        yield error(
            f"{_named(one)} holds {count} certificates; TLS clients stop at a depth of {_LONGEST}\n"
            "put the full chain into it, from the device CA up to the root, and nothing else"
        )
    elif count > pemfiles.MOST:
        yield warning(f"{_named(one)} holds {count} certificates; only the first {pemfiles.MOST} were looked at")


@check("certs-preloaded", "configured certificates are valid")
def certs_preloaded(subject: Subject) -> Looked:
    """No certificate of device CA and trust bundle is out of its time; the product looks at each file's first only."""
    for one in _files(subject, EDGE_CA, TRUST_BUNDLE):
        yield from _expiry(subject, one)


@check("identity-certificate-expiry", "production readiness: identity certificates expiry")
def identity_certificate_expiry(subject: Subject) -> Looked:
    """The gateway's own identity certificate, where it has one, is within its time."""
    yield from _expiry(subject, subject.preloaded(IDENTITY))


def _expiry(subject: Subject, one: Preloaded) -> Looked:
    found = subject.certificates_in(one.certificate) if isinstance(one.certificate, Path) else pemfiles.Certificates()
    certificates = found.certificates[: pemfiles.MOST]
    if certificates:
        yield Fact(one.id, {"path": str(one.certificate), **_validity(certificates[0])})
    yield from expiry(certificates, _named(one), subject.now)


def expiry(certificates: Iterable[x509.Certificate], where: str, now: datetime) -> Iterator[Finding]:
    """Say of each certificate that is out of its time, or soon will be, in the product's words."""
    for one in dict.fromkeys(certificates):
        wrong = outside(one, now)
        if wrong is not None and wrong.rule == "E2":
            yield error(
                f"{where}: {cn(one)} has not-before time {one.not_valid_before_utc} which is in the future", wrong.fix
            )
        elif wrong is not None:
            yield error(f"{where}: {cn(one)} expired at {one.not_valid_after_utc}", wrong.fix)
        elif outside(one, now + SOON):
            end = one.not_valid_after_utc
            yield warning(f"{where}: {cn(one)} will expire soon ({end}, in {(end - now).days} days)")


@check("key-pairs-read", "configured private keys can be read")
def key_pairs_read(subject: Subject) -> Looked:
    """Every private key file is there, holds a plain key, and is nobody else's to read."""
    for one in _with_keys(subject):
        assert isinstance(one.key, Path)
        found = pemfiles.read_key(one.key)
        if found.wrong:
            yield error(f"private key of {one.title} '{one.key}': {found.wrong}")
        if found.open_to:
            yield warning(f"private key of {one.title} '{one.key}' can be read by {found.open_to}\nchmod 600 it")


@check("certs-match-private-keys", "configured certificates match their private keys")
def certs_match_private_keys(subject: Subject) -> Looked:
    """The first certificate of each file is the one of the key that is configured beside it."""
    for one in _with_keys(subject):
        key = subject.key_of(one)
        if key is None or not isinstance(one.certificate, Path):
            continue
        found = subject.certificates_in(one.certificate).certificates
        if not found or key_id(key) == public_key_id(found[0]):
            continue
        others = [cn(other) for other in found[1 : pemfiles.MOST] if public_key_id(other) == key_id(key)]
        hint = f"it is the key of {others[0]}, which must come first" if others else "give the key it was made with"
        yield error(f"{_named(one)}: its first certificate, {cn(found[0])}, does not match '{one.key}'\n{hint}")


@check("certificates-quickstart", "production readiness: certificates")
def certificates_quickstart(subject: Subject) -> Looked:
    """Is a device CA configured? The check is 1.1's; today's daemon makes quickstart certificates otherwise too."""
    made = subject.configuration.quickstart
    yield Fact("quickstart", made)
    if made is None:
        raise NotApplicable("a device CA is configured")
    yield warning(
        f"{made}\nThe daemon makes quickstart certificates, which no leaf device trusts by itself and which expire.\n"
        "Configure a device CA below a root of your own before production."
    )


def _files(subject: Subject, *identities: str) -> list[Preloaded]:
    found = [one for one in subject.configuration.files if not identities or one.id in identities]
    if not found:
        raise NotApplicable("no certificate is configured as a file")
    return found


def _with_keys(subject: Subject) -> list[Preloaded]:
    found = [one for one in _files(subject) if isinstance(one.key, Path)]
    if not found:
        raise NotApplicable("no private key is configured as a file")
    return found


def _named(one: Preloaded) -> str:
    return f"{one.title} '{one.certificate}'"


def _validity(certificate: x509.Certificate) -> dict[str, str]:
    return {
        "common_name": cn(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }
