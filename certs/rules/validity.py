"""E and W: time, and what strict verifiers and single stacks object to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from certs import path
from certs.findings import Case, Problem, cn
from certs.x509io import extension, rsa_bits, serial_of, signature_digest

_LONGEST_CN = 64  # RFC 5280, ub-common-name


def time(case: Case) -> Iterator[Problem]:
    """E1, E2: each certificate of the path must be valid now, the trusted root included."""
    for step in case.path.steps:
        if problem := outside(step.certificate, case.now, step.index):
            yield problem


def outside(certificate: x509.Certificate, now: datetime, index: int | None = None) -> Problem | None:
    """Return E1 or E2 when the certificate is not valid at that time."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        return Problem(
            "E1", "error", f"{cn(certificate)} has expired", f"valid until {_minute(end)}",
            "renew it and everything that it signed, then restart the gateway", index,
            like="expired-root-notsent" if path.is_self_signed(certificate) else "expired-srv",
        )  # fmt: skip
    if start > now:
        return Problem(
            "E2", "error", f"{cn(certificate)} is not valid yet", f"valid from {_minute(start)}",
            "compare the clocks of gateway and leaf (NTP)", index,
            like="notyet-root" if path.is_self_signed(certificate) else "notyet-srv",
        )  # fmt: skip
    return None


def policy(case: Case) -> Iterator[Problem]:
    """W1: too weak for OpenSSL's security level 2, which distributions and Python 3.10 have set."""
    for step in case.path.steps:
        bits, server = rsa_bits(step.certificate), step.index == 0
        if bits is not None and bits < 2048:
            yield Problem(
                "W1", "error", f"{cn(step.certificate)} has an RSA key of {bits} bits",
                "OpenSSL's security level 2 wants 2048", "make it with a longer key", step.index,
                like="rsa1024-srv" if server else "rsa1024-devca",
            )  # fmt: skip
        if signature_digest(step.certificate) in ("sha1", "md5") and not path.is_self_signed(step.certificate):
            yield Problem(
                "W1", "error", f"{cn(step.certificate)} is signed with SHA-1",
                "OpenSSL's security level 2 wants SHA-256", "make it again with SHA-256", step.index,
                like="sha1-srv" if server else "sha1-devca",
            )  # fmt: skip
        if len(cn(step.certificate)) > _LONGEST_CN:
            yield Problem(
                "W1", "note", f"a common name is longer than X.509's {_LONGEST_CN} characters",
                cn(step.certificate), "nothing, TLS stacks take it; OpenSSL does not make such a certificate",
                step.index,
            )  # fmt: skip


def serials(case: Case) -> Iterator[Problem]:
    """W2: serial numbers that single stacks object to."""
    for step in case.path.steps:
        if serial_of(step.certificate) == 0:
            yield Problem(
                "W2", "warning", f"{cn(step.certificate)} has serial number 0, which rustls cannot decode",
                "as IoT Edge 1.2 and later write it", "nothing, unless a leaf runs on rustls", step.index,
                like="loop-hist-1.2-serial0", only=("rustls-0.20",),
            )  # fmt: skip
    seen: dict[tuple[x509.Name, int], x509.Certificate] = {}
    for one in dict.fromkeys((*case.sent, *case.path.certificates)):
        twin = seen.setdefault((one.issuer, serial_of(one)), one)
        if twin is not one:
            yield Problem(
                "W2", "warning", f"{cn(twin)} and {cn(one)} have the same issuer and serial number",
                f"serial number {serial_of(one):x}", "make one of them again; NSS refuses otherwise",
                like="dup-serials",
            )  # fmt: skip
            break


def length(case: Case) -> Iterator[Problem]:
    """W3: more certificates than small stacks take."""
    count = len(case.path.steps)
    if count > 9:
        yield Problem(
            "W3", "warning", "the chain is too long for small TLS stacks", f"{count} certificates",
            "leave intermediates out; wolfSSL and rustls stop at 9", like="long-10" if count < 15 else "long-15",
        )  # fmt: skip


def strictness(case: Case) -> Iterator[Problem]:
    """W4: accepted by OpenSSL as paho uses it, refused by strict verifiers."""
    without_id = [one for one in case.path.certificates if _lacks_key_id(one)]
    without_usage = [one for one in case.path.certificates if _lacks_usage(one)]
    if without_id or without_usage:
        like = "ok-hist-1.2-noski" if case.sent[0] in without_id else "loop-cnonly-wl-devcanoski-ku"
        lacking = dict.fromkeys((*without_id, *without_usage))
        yield Problem(
            "W4", "warning", "strict clients refuse this chain: Python 3.13's create_default_context and cryptography",
            f"no authority key identifier or no CA key usage: {', '.join(map(cn, lacking))}",
            "make them with key identifiers, or clear VERIFY_X509_STRICT on the client",
            like="ok-iotedge-1.0.3" if without_usage else like,
        )  # fmt: skip
    if case.for_server and not list(case.sent[0].subject):
        yield Problem(
            "W4", "warning", "the server certificate has no subject, which Java and old Node.js refuse",
            "empty subject, subjectAltName not critical", "give it a common name", 0, like="san-only",
        )  # fmt: skip


def _lacks_key_id(one: x509.Certificate) -> bool:
    return not path.is_self_signed(one) and extension(one, x509.AuthorityKeyIdentifier) is None


def _lacks_usage(one: x509.Certificate) -> bool:
    return path.is_ca(one) and extension(one, x509.KeyUsage) is None


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
