"""What 26 TLS stacks really answered to a gateway's chains: the measured table, beside it as outcomes.json.

Every row is a chain that was served on loopback to every stack: whether it connected, what the client said and what
the server noticed. Names of levels: root, inter, devca, wl (workload CA), srv; i0, i1 ... are further intermediates, a
digit behind a name is another certificate of that name (root2: same subject, another key), xca an unrelated CA, qs a
quickstart CA. `pyca-verify` judged files and saw no TLS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class MeasuredStack:
    """One of the stacks that were measured. `name` is its short name, as scenarios and adapters use it."""

    key: str  # its name in the table
    name: str
    title: str


@dataclass(frozen=True)
class Refusal:
    """What a client said, and what the server noticed of it: an alert, a completed handshake, a reset."""

    message: str
    gateway_saw: str


@dataclass(frozen=True)
class Outcome:
    """One row: a chain, and what each stack made of it."""

    name: str
    summary: str
    group: str
    asked: str  # the name that clients connected to
    hostname: str  # the name that the server certificate was made for
    served: tuple[str, ...]
    trusted: tuple[str, ...]
    server: Mapping[str, Any]  # settings of the TLS server: min, max, ciphers, mtls, plain, sec0, keyof
    server_refuses: str | None  # why the server itself does not start
    refused: Mapping[str, Refusal]  # by the stack's key
    connected: frozenset[str]

    def of(self, key: str) -> bool | None:
        """Tell whether that stack connected; None when it was not measured."""
        if key in self.connected:
            return True
        return False if key in self.refused else None

    def as_json(self) -> dict[str, Any]:
        """Return the row for a JSON report."""
        return {
            "summary": self.summary,
            "group": self.group,
            "asked": self.asked,
            "hostname": self.hostname,
            "served": self.served,
            "trusted": self.trusted,
            "server": dict(self.server),
            "refused": {stack: asdict(said) for stack, said in self.refused.items()},
            "connected": sorted(self.connected),
        }


_STACKS = (
    MeasuredStack("python-ssl", "python", "Python 3.11 ssl (OpenSSL 3.0)"),
    MeasuredStack("paho", "paho", "paho-mqtt 2.2 (OpenSSL 3.0)"),
    MeasuredStack("s_client-3.0", "openssl", "openssl s_client 3.0"),
    MeasuredStack("python3.13", "python3.13", "Python 3.13 create_default_context (OpenSSL 3.0)"),
    MeasuredStack("python3.6", "python3.6", "Python 3.6 create_default_context"),
    MeasuredStack("python2.7", "python2.7", "Python 2.7 create_default_context"),
    MeasuredStack("pyopenssl", "pyopenssl", "pyOpenSSL 26.4 with service_identity"),
    MeasuredStack("pyca-verify", "pyca", "cryptography 50 x509.verification"),
    MeasuredStack("curl-openssl", "curl", "curl 7.88 (OpenSSL 3.0)"),
    MeasuredStack("node20-ossl3", "node", "Node.js 20 (OpenSSL 3)"),
    MeasuredStack("node12-ossl1.1.1", "node12", "Node.js 12 (OpenSSL 1.1.1)"),
    MeasuredStack("node10.0-ossl1.1.0", "node10", "Node.js 10 (OpenSSL 1.1.0)"),
    MeasuredStack("node8-ossl1.0.2", "node8", "Node.js 8 (OpenSSL 1.0.2)"),
    MeasuredStack("dotnet-core3.1", "dotnet", ".NET Core 3.1 (OpenSSL 1.1.1)"),
    MeasuredStack("dotnet2.1-ossl1.0.2", "dotnet2.1", ".NET Core 2.1 (OpenSSL 1.0.2)"),
    MeasuredStack("gnutls-cli", "gnutls", "GnuTLS 3.7.9"),
    MeasuredStack("curl-gnutls", "curl-gnutls", "libcurl-gnutls 7.88"),
    MeasuredStack("java17", "java", "Java 17 (JSSE)"),
    MeasuredStack("go1.27", "go", "Go 1.27"),
    MeasuredStack("go1.19", "go1.19", "Go 1.19"),
    MeasuredStack("mbedtls-2.28", "mbedtls-c", "Mbed TLS 2.28 (C)"),
    MeasuredStack("python-mbedtls", "mbedtls", "Mbed TLS 2.28 (python-mbedtls)"),
    MeasuredStack("nss-3.87", "nss", "NSS 3.87"),
    MeasuredStack("rustls-0.20", "rustls", "rustls 0.20"),
    MeasuredStack("wolfssl-5.5", "wolfssl", "wolfSSL 5.5"),
    MeasuredStack("bearssl-0.6", "bearssl", "BearSSL 0.6"),
)
#: by the short name
MEASURED_STACKS: Mapping[str, MeasuredStack] = MappingProxyType({one.name: one for one in _STACKS})


@cache
def outcomes() -> Mapping[str, Outcome]:
    """Return the whole table by name."""
    table = json.loads(files("certs").joinpath("outcomes.json").read_text("utf-8"))
    return MappingProxyType({name: _outcome(name, row) for name, row in table.items()})


def _outcome(name: str, row: dict[str, Any]) -> Outcome:
    return Outcome(
        name,
        row["summary"],
        row["group"],
        row["asked"],
        row["hostname"],
        tuple(row["served"]),
        tuple(row["trusted"]),
        MappingProxyType(row.get("server", {})),
        row.get("server_refuses"),
        MappingProxyType({stack: Refusal(**said) for stack, said in row["refused"].items()}),
        frozenset(row["connected"]),
    )
