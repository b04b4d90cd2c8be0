"""The TLS stacks that a scenario may speak of, and which of them are at hand.

A stack that leafsim has an adapter for is played; of the others this project knows what real handshakes gave when its
table was measured, and says "measured", never "seen".
"""

from __future__ import annotations

MEASURED = {
    "bearssl": "BearSSL 0.6",
    "curl": "curl 7.88 (OpenSSL 3.0)",
    "curl-gnutls": "libcurl-gnutls 7.88",
    "dotnet": ".NET Core 3.1 (OpenSSL 1.1.1)",
    "dotnet2.1": ".NET Core 2.1 (OpenSSL 1.0.2)",
    "gnutls": "GnuTLS 3.7.9",
    "go": "Go 1.27",
    "java": "Java 17 (JSSE)",
    "mbedtls": "Mbed TLS 2.28",
    "node": "Node.js 20 (OpenSSL 3)",
    "node8": "Node.js 8 (OpenSSL 1.0.2)",
    "node10": "Node.js 10 (OpenSSL 1.1.0)",
    "node12": "Node.js 12 (OpenSSL 1.1.1)",
    "nss": "NSS 3.87",
    "python3.13": "Python 3.13 create_default_context (OpenSSL 3.0)",
    "rustls": "rustls 0.20",
    "wolfssl": "wolfSSL 5.5",
}


def stack_names() -> set[str]:
    """Every stack that a scenario may name."""
    from leafsim import STACKS  # noqa: PLC0415 - only a file that names stacks needs them

    return set(MEASURED) | set(STACKS)


def measured_name(stack: str) -> str:
    """The stack with the version that was measured."""
    return MEASURED.get(stack, stack)
