"""A: who may sign, how deep, and for which purpose."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import path
from certs.chain import Role
from certs.findings import Case, Problem, cn
from certs.x509io import extension

_SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
_ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def may_sign(case: Case) -> Iterator[Problem]:
    """A1, A2: everything above the first certificate must be a CA and allowed to sign certificates."""
    for step in case.path.steps[1:]:
        if problem := no_authority(step.certificate, step.index):
            yield problem


def no_authority(certificate: x509.Certificate, index: int | None = None) -> Problem | None:
    """Return A1 or A2 when the certificate may not sign others."""
    usage = extension(certificate, x509.KeyUsage)
    if not path.is_ca(certificate):
        return Problem(
            "A1", "error", f"{cn(certificate)} signs certificates but is no CA",
            "its basicConstraints do not say CA:TRUE", "make it with CA:TRUE (the scripts' device CA profile)", index,
        )  # fmt: skip
    if usage is not None and not usage.key_cert_sign:
        return Problem(
            "A2", "error", f"{cn(certificate)} may not sign certificates", "its keyUsage lacks keyCertSign",
            "make it with keyUsage keyCertSign", index,
        )  # fmt: skip
    return None


def depth(case: Case) -> Iterator[Problem]:
    """A3: a path length that is smaller than the number of authorities below (RFC 5280, 4.2.1.9)."""
    below = 0  # authorities below that are not self-issued; the first certificate never counts
    for position, step in enumerate(case.path.steps):
        constraints = extension(step.certificate, x509.BasicConstraints)
        limit = constraints.path_length if constraints else None
        if position and limit is not None and limit < below:
            yield Problem(
                "A3", "error", f"{cn(step.certificate)} allows {limit} authorities below itself and there are {below}",
                f"pathLenConstraint {limit}", "make it again with a greater path length or none", step.index,
            )  # fmt: skip
        if position and step.certificate.subject != step.certificate.issuer:
            below += 1


def purpose(case: Case) -> Iterator[Problem]:
    """A4: an extended key usage that leaves out servers."""
    start = 0 if case.path.roles[0] in (Role.SERVER, Role.DEVICE) else 1
    if not case.for_server:
        return
    for step in case.path.steps[start:]:
        usage = extension(step.certificate, x509.ExtendedKeyUsage)
        if usage is not None and _SERVER_AUTH not in usage and _ANY not in usage:
            yield Problem(
                "A4", "error", f"{cn(step.certificate)} is not for TLS servers",
                "its extendedKeyUsage lacks serverAuth", "make it with serverAuth, or without extendedKeyUsage",
                step.index,
            )  # fmt: skip
