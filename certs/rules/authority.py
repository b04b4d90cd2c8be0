"""A: who may sign, how deep, and for which purpose."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import path
from certs.chain import Role
from certs.findings import Case, Problem, cn
from certs.hostname import alternative_names
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
    if not path.is_ca(certificate) and not _is_old_root(certificate):
        return Problem(
            "A1", "error", f"{cn(certificate)} signs certificates but is no CA",
            "its basicConstraints do not say CA:TRUE", "make it with CA:TRUE (the scripts' device CA profile)",
            index, like=_like_no_ca(certificate),
        )  # fmt: skip
    if usage is not None and not usage.key_cert_sign:
        return Problem(
            "A2", "error", f"{cn(certificate)} may not sign certificates", "its keyUsage lacks keyCertSign",
            "make it with keyUsage keyCertSign", index, like="devca-no-certsign",
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
                like="pathlen-root1" if path.is_self_signed(step.certificate) else "pathlen-inter0",
            )  # fmt: skip
        if position and step.certificate.subject != step.certificate.issuer:
            below += 1


def purpose(case: Case) -> Iterator[Problem]:
    """A4: an extended key usage that leaves out servers."""
    start = 0 if case.name is not None or case.path.roles[0] in (Role.SERVER, Role.DEVICE) else 1
    if not case.for_server:
        return
    for step in case.path.steps[start:]:
        usage = extension(step.certificate, x509.ExtendedKeyUsage)
        if usage is not None and _SERVER_AUTH not in usage and _ANY not in usage:
            yield Problem(
                "A4", "error", f"{cn(step.certificate)} is not for TLS servers",
                "its extendedKeyUsage lacks serverAuth", "make it with serverAuth, or without extendedKeyUsage",
                step.index, like="wl-eku-client" if step is not case.path.steps[0] else "srv-eku-client",
            )  # fmt: skip


def server_is_ca(case: Case) -> Iterator[Problem]:
    """A1: a server certificate that says CA:TRUE is accepted by most."""
    if case.path.roles[0] is Role.SERVER and path.is_ca(case.sent[0]):
        yield Problem(
            "A1", "warning", f"the server certificate {cn(case.sent[0])} says that it is a CA",
            "its basicConstraints say CA:TRUE", "make it with CA:FALSE", 0, like="srv-is-ca",
        )  # fmt: skip


def constraints(case: Case) -> Iterator[Problem]:
    """A5: an authority that may sign for some names only (RFC 5280, 4.2.1.10)."""
    if not case.for_server:
        return
    dns, _ = alternative_names(case.sent[0])
    carried = dns or [one for one in [cn(case.sent[0])] if "*" not in one]  # in a common name * makes no host name
    for step in case.path.steps[1:]:
        limits = extension(step.certificate, x509.NameConstraints)
        if limits is None:
            continue
        outside = [one for one in carried if not _is_allowed(one, limits)]
        if outside:
            yield Problem(
                "A5", "error", f"{cn(step.certificate)} may not sign for {outside[0]}",
                f"its nameConstraints leave out {', '.join(outside)}", "use a name that it may sign for, or another CA",
                step.index, like="nc-violation" if dns else "nc-cnonly",
            )  # fmt: skip
        else:
            yield Problem(
                "A5", "warning", f"{cn(step.certificate)} has name constraints, which small TLS stacks do not know",
                "nameConstraints", "leave them out; Mbed TLS, wolfSSL, BearSSL and rustls 0.20 refuse them", step.index,
                like="nc-ok",
            )  # fmt: skip


def _is_allowed(name: str, limits: x509.NameConstraints) -> bool:
    permitted = [one.value for one in limits.permitted_subtrees or () if isinstance(one, x509.DNSName)]
    excluded = [one.value for one in limits.excluded_subtrees or () if isinstance(one, x509.DNSName)]
    inside = not permitted or any(_is_below(name, one) for one in permitted)
    return inside and not any(_is_below(name, one) for one in excluded)


def _is_below(name: str, domain: str) -> bool:
    return f".{name}".lower().endswith(f".{domain.removeprefix('.')}".lower())


def _is_old_root(certificate: x509.Certificate) -> bool:
    """Tell whether it is a root that may sign and does not say whether it is a CA; OpenSSL takes it for one."""
    return path.is_self_signed(certificate) and _like_no_ca(certificate) == "devca-no-bc-kuok"


def _like_no_ca(certificate: x509.Certificate) -> str:
    usage = extension(certificate, x509.KeyUsage)
    silent = extension(certificate, x509.BasicConstraints) is None
    return "devca-no-bc-kuok" if silent and usage is not None and usage.key_cert_sign else "devca-ca-false"
