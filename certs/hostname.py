"""Does a certificate carry a name? As OpenSSL judges it, which is what most leaves run on.

Rule: the case of a host name never decides (RFC 4343); it is worth a note, because IoT Edge's documentation asks for
lower case, and no TLS stack refuses because of it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cryptography import x509

from certs.chain import Chain
from certs.names import common_name, is_ip
from certs.x509io import extension


@dataclass(frozen=True)
class NameNote:
    """Something to tell about a name. `fails`: leaves will refuse; otherwise it is only worth knowing."""

    fails: bool
    message: str
    fix: str


def matches(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether OpenSSL accepts this certificate for that host name or address."""
    dns, addresses = alternative_names(certificate)
    if is_ip(name):
        return ipaddress.ip_address(name) in addresses
    name = to_ascii(name)
    patterns = dns or [common_name(certificate.subject)]  # the common name counts only without a dNSName
    return any(_fits(pattern.lower(), name.lower()) for pattern in patterns)


def alternative_names(
    certificate: x509.Certificate,
) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    """Return the dNSNames and the IP addresses of the subjectAltName."""
    san = extension(certificate, x509.SubjectAlternativeName)
    if san is None:
        return [], []
    addresses = [
        one
        for one in san.get_values_for_type(x509.IPAddress)
        if isinstance(one, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    return san.get_values_for_type(x509.DNSName), addresses


def to_ascii(name: str) -> str:
    """Return the form of a name that goes on the wire (A-labels, RFC 5890); what has none stays as it is."""
    try:
        return name.encode("idna").decode().lower()
    except UnicodeError:
        return name.lower()


def check_hostname(chain: Chain, hostname: str) -> NameNote | None:
    """Tell what is wrong when a chain, saved earlier, is to be served under `hostname`; None when nothing is."""
    certificate = chain.server.certificate
    if not matches(certificate, hostname):
        return NameNote(
            fails=True,
            message=f"the server certificate was made for {chain.hostname!r}, not for {hostname!r}: "
            "leaves that connect by the new name refuse it (hostname mismatch)",
            fix="make the server certificate again: `leafgate certs transfer`, or start with an empty state folder",
        )
    return case_note(certificate, hostname)


def case_note(certificate: x509.Certificate, name: str) -> NameNote | None:
    """Tell that a name differs from the certificate's in case only, or None."""
    carried = alternative_names(certificate)[0] or [common_name(certificate.subject)]
    if is_ip(name) or name in carried or not matches(certificate, name):
        return None
    other = next((one for one in carried if one.lower() == name.lower()), None)
    if other is None:  # a wildcard
        return None
    return NameNote(
        fails=False,
        message=f"{name!r} differs from the certificate's {other!r} in case: IoT Edge's documentation asks for the "
        "name in lower case, though no TLS stack is known to refuse this",
        fix=f"write GatewayHostName={other} for tidiness",
    )


def _fits(pattern: str, name: str) -> bool:
    """Compare as RFC 6125 does: a * stands for the whole leftmost label, with at least two labels after it."""
    if not pattern.startswith("*."):
        return pattern == name
    label, _, rest = name.partition(".")
    return bool(label) and rest == pattern[2:] and "." in rest
