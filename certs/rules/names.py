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
        yield _address(leaf, name, dns, carried)
    elif form := _form(name, dns or [cn(leaf)]):
        yield form
    elif dns and cn(leaf).lower() == name.lower():
        yield Problem(
            "N2", "error", "the name stands in the common name only, which does not count beside a subjectAltName",
            f"asked for {name}; subjectAltName names {carried}", "put the host name into the subjectAltName", 0,
            like="host-mismatch",
        )  # fmt: skip
    else:
        yield Problem(
            "N4", "error", "the name that the leaf uses is not in the server certificate",
            f"asked for {name}; the certificate names {carried}",
            "use exactly the gateway's configured hostname as GatewayHostName", 0, like="host-mismatch",
        )  # fmt: skip


def _address(leaf: x509.Certificate, name: str, dns: list[str], carried: str) -> Problem:
    like = "ip-as-dnssan" if name in dns else "ip-cn-only" if not dns and cn(leaf) == name else "ip-no-ipsan"
    return Problem(
        "N1", "error", "the gateway is addressed by IP, and its certificate does not name that address",
        f"asked for {name}; the certificate names {carried}",
        "use the host name as GatewayHostName, or make the certificate with the address (--ip-san)", 0, like=like,
    )  # fmt: skip


def _form(name: str, carried: list[str]) -> Problem | None:
    """N5: the right name in a form that does not count."""
    dotless, label = name.rstrip(".").lower(), name.partition(".")[0]
    for one in carried:
        fits = one.rstrip(".").lower() == dotless
        if fits and one != name:
            return _misformed("a dot at the end makes it another name", one, name, "trailing-dot-cert", "write no dot")
        if not one.isascii() and hostname.to_ascii(one) == hostname.to_ascii(name):
            fix = f"write {hostname.to_ascii(one)} into the certificate"
            return _misformed("names in certificates are ASCII", one, name, "idn-u-cn", fix)
        if one.startswith("*.") and one.lower() == f"*{name.lower().removeprefix(label.lower())}":
            fix = "put the host name itself into the subjectAltName"
            return _misformed("a wildcard does not stand for a whole top-level domain", one, name, "wildcard-tld", fix)
        if one.startswith("*.") and dotless.endswith(one[1:].lower()):
            fix = "put the host name itself into the subjectAltName"
            return _misformed(
                "a wildcard stands for one part of a name, not for several", one, name, "host-mismatch", fix
            )
    return None


def _misformed(why: str, carried: str, name: str, like: str, fix: str) -> Problem:
    return Problem("N5", "error", f"{carried} is not {name}: {why}", f"asked for {name}", fix, 0, like=like)


def _matching(leaf: x509.Certificate, name: str, dns: list[str]) -> Iterator[Problem]:
    if not dns and not is_ip(name):
        yield Problem(
            "N3", "warning", "the name stands in the common name only, where Go, rustls and cryptography do not look",
            f"no dNSName; common name {cn(leaf)}", "make the server certificate with a subjectAltName", 0,
            like="wildcard-cn" if cn(leaf).startswith("*") else "cn-only",
        )  # fmt: skip
    if "_" in name:
        yield Problem(
            "N5", "warning", f"{name} has an underscore, which Java and .NET Core 2.1 refuse", f"asked for {name}",
            "use letters, digits and hyphens (RFC 1035)", 0, like="underscore",
        )  # fmt: skip
    if "xn--" in name.lower():
        yield Problem(
            "N5", "note", f"{name} is an internationalised name, which Python 3.6 refuses", f"asked for {name}",
            "nothing, unless a leaf runs on Python 3.6", 0, like="idn-a-a",
        )  # fmt: skip
    if note := hostname.case_note(leaf, name):
        yield Problem("N6", "note", note.message, f"asked for {name}", note.fix, 0)
