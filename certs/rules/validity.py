"""E and W: time, and what strict verifiers and single stacks object to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from certs import path
from certs.findings import Case, Problem, cn
from certs.x509io import extension, rsa_bits, serial_of


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
        )  # fmt: skip
    if start > now:
        return Problem(
            "E2", "error", f"{cn(certificate)} is not valid yet", f"valid from {_minute(start)}",
            "compare the clocks of gateway and leaf (NTP)", index,
        )  # fmt: skip
    return None


def strictness(case: Case) -> Iterator[Problem]:
    """W1 to W4: accepted by OpenSSL as paho uses it, refused elsewhere."""
    for step in case.path.steps:
        bits = rsa_bits(step.certificate)
        if bits is not None and bits < 2048:
            yield Problem(
                "W1", "warning", f"{cn(step.certificate)} has an RSA key of {bits} bits",
                "OpenSSL's security level 2 wants 2048", "make it with a longer key", step.index,
            )  # fmt: skip
        if serial_of(step.certificate) == 0:
            yield Problem(
                "W2", "warning", f"{cn(step.certificate)} has serial number 0, which rustls cannot decode",
                "as IoT Edge 1.2 and later write it", "nothing, unless a leaf runs on rustls", step.index,
            )  # fmt: skip
    if len(case.path.steps) > 9:
        yield Problem(
            "W3", "warning", "the chain is too long for small TLS stacks", f"{len(case.path.steps)} certificates",
            "leave intermediates out; wolfSSL and rustls stop at 9",
        )  # fmt: skip
    yield from _strict(case)


def _strict(case: Case) -> Iterator[Problem]:
    lacking = [one for one in case.path.certificates if _lacks_key_id(one) or _lacks_usage(one)]
    if lacking:
        yield Problem(
            "W4", "warning", "strict clients refuse this chain: Python 3.13's create_default_context and cryptography",
            f"no authority key identifier or no CA key usage: {', '.join(map(cn, lacking))}",
            "make them with key identifiers, or clear VERIFY_X509_STRICT on the client",
        )  # fmt: skip


def _lacks_key_id(one: x509.Certificate) -> bool:
    return not path.is_self_signed(one) and extension(one, x509.AuthorityKeyIdentifier) is None


def _lacks_usage(one: x509.Certificate) -> bool:
    return path.is_ca(one) and extension(one, x509.KeyUsage) is None


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
