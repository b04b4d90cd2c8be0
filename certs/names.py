"""Subjects and host names: reading what a person writes, and the rules for what a certificate can carry."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.errors import NameRefusedError

MAX_CN = 64  # ub-common-name, RFC 5280 appendix A
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
#: what iotedge 1.0.x copied from the issuer into each certificate it made (edge_pki_openssl.c)
INHERITED = (
    NameOID.COUNTRY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)


def name(common_name: str, inherit_from: x509.Name | None = None) -> x509.Name:
    """Return a subject that is a common name, after the C, ST, L, O and OU of `inherit_from` if given."""
    if not common_name or len(common_name) > MAX_CN:
        raise NameRefusedError(
            common_name,
            f"a common name has 1 to {MAX_CN} characters and this one has {len(common_name)}",
            "shorten it (RFC 5280, ub-common-name)",
        )
    copied = (
        [] if inherit_from is None else [a for oid in INHERITED for a in inherit_from.get_attributes_for_oid(oid)[:1]]
    )
    return x509.Name([*copied, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def parse(text: str) -> x509.Name:
    """Read "Contoso Plant 2" (a common name) or "CN=Plant 2,O=Contoso,C=DE" (RFC 4514)."""
    if "=" not in text:
        return name(text)
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError:
        raise NameRefusedError(
            text, "it is neither a common name nor a distinguished name", 'write "CN=Plant 2,O=Contoso,C=DE"'
        ) from None


def common_name(subject: x509.Name) -> str:
    """Return the most specific common name, or the whole name when there is none."""
    found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else subject.rfc4514_string()


def is_ip(text: str) -> bool:
    """Tell whether a host name is really an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_hostname(text: str) -> str:
    """Return a host name that a server certificate can carry, or raise NameRefusedError."""
    if is_ip(text):
        return text
    if not text.isascii():
        raise NameRefusedError(text, "host names in certificates are ASCII", "write its A-label form (xn--...)")
    if len(text) > MAX_CN:
        raise NameRefusedError(
            text,
            f"IoT Edge writes the host name into the common name, which ends at {MAX_CN} characters",
            "configure a shorter host name",
        )
    if not text or not all(_LABEL.match(label) for label in text.removesuffix(".").split(".")):
        raise NameRefusedError(
            text,
            "it is not a host name",
            "letters, digits and hyphens, parts separated by dots, without scheme or port",
        )
    return text


def first_equal(text: str, others: Iterable[str]) -> str | None:
    """Return the first of `others` that equals `text` when case is ignored, as DNS does."""
    return next((other for other in others if other.casefold() == text.casefold()), None)
