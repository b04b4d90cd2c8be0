"""N: the name that the leaf uses against the names in the certificate."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from certs import hostname
from certs.findings import Case, Problem, cn
from certs.names import is_ip


def names(case: Case) -> Iterator[Problem]:
    """N1 to N6: does the server certificate carry the name?"""
    if case.name is None:
        return
    leaf, name = case.sent[0], case.name
    dns, addresses = hostname.alternative_names(leaf)
    carried = ", ".join([*dns, *map(str, addresses)]) or f"no subjectAltName, common name {cn(leaf)}"
    if hostname.matches(leaf, name):
        yield from _matching(leaf, name, dns)
    elif is_ip(name):
        yield Problem(
            "N1", "error", "the gateway is addressed by IP, and its certificate does not name that address",
            f"asked for {name}; the certificate names {carried}",
            "use the host name as GatewayHostName, or make the certificate with the address (--ip-san)", 0,
        )  # fmt: skip
    elif dns and cn(leaf).lower() == name.lower():
        yield Problem(
            "N2", "error", "the name stands in the common name only, which does not count beside a subjectAltName",
            f"asked for {name}; subjectAltName names {carried}", "put the host name into the subjectAltName", 0,
        )  # fmt: skip
    else:
        yield Problem(
            "N4", "error", "the name that the leaf uses is not in the server certificate",
            f"asked for {name}; the certificate names {carried}",
            "use exactly the gateway's configured hostname as GatewayHostName", 0,
        )  # fmt: skip


def _matching(leaf: x509.Certificate, name: str, dns: list[str]) -> Iterator[Problem]:
    if not dns and not is_ip(name):
        yield Problem(
            "N3", "warning", "the name stands in the common name only, where Go, rustls and cryptography do not look",
            f"no dNSName; common name {cn(leaf)}", "make the server certificate with a subjectAltName", 0,
        )  # fmt: skip
    if note := hostname.case_note(leaf, name):
        yield Problem("N6", "note", note.message, f"asked for {name}", note.fix, 0)
