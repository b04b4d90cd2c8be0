"""MODELLED: a leaf that compares the gateway's name byte for byte.

IoT Edge's documentation asks for a GatewayHostName that matches the certificate exactly. No real stack that was
measured refuses a difference of upper and lower case (RFC 6125, section 6.4.1 asks for none to), so this one stands for
the strict reading: handshake, chain and name are verified for real, and only then is the case compared.
"""

from __future__ import annotations

import ssl
from typing import Any

from leafsim.address import is_address
from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.python import PythonStack

NAME_DIFFERS = "name-case"


class ExactMatchStack(PythonStack):
    """Python's ssl, then a comparison of names that no real stack makes."""

    name = "exact-match"
    modelled = True

    def version(self) -> str:
        """Return the real part's version, and that there is a model on top."""
        return f"{ssl.OPENSSL_VERSION}, byte-for-byte name check"

    def judge(self, connection: ssl.SSLSocket, target: Target) -> Verdict:
        """Refuse when no name in the certificate is spelled exactly as the leaf spells it."""
        names = certificate_names(connection.getpeercert() or {})
        if is_address(target.name) or any(_matches(target.name, name) for name in names):
            return Verdict(True)
        message = f"the certificate is for {', '.join(map(repr, names))}, not byte for byte {target.name!r}"
        return Verdict(False, NAME_DIFFERS, message, 0)


def certificate_names(certificate: Any) -> list[str]:
    """Return the DNS names of a certificate as ssl gives it; the common name when there are none (RFC 6125, 6.4.4)."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    subject = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    return names or [value for kind, value in subject if kind == "commonName"]


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return name == pattern
