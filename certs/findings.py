"""What a diagnose rule looks at and what it says.

`error` means that a leaf on OpenSSL 3 refuses, `warning` that another TLS stack does, `note` that it is worth knowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509

from certs.chain import Role
from certs.names import common_name
from certs.path import Path

Severity = Literal["error", "warning", "note"]
_QUICKSTART = ("aziot-edge ca", "iotedged workload ca ", "test edge")  # edgelet's default names
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Problem:
    """One finding. `certificate` is the place among the sent ones, None when it is none of them.

    `like` names the measured chain (`certs.outcomes`) that fails for the same reason, `only` those of its stacks that
    count, where other reasons of that chain made more of them refuse.
    """

    rule: str
    severity: Severity
    cause: str
    evidence: str
    fix: str
    certificate: int | None = None
    like: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """The certificates in question and what they are judged by."""

    sent: tuple[x509.Certificate, ...]
    path: Path
    name: str | None
    trust: tuple[x509.Certificate, ...] | None  # None: unknown, so nothing is said about trust
    now: datetime

    @property
    def for_server(self) -> bool:
        """Whether a server sent these: a name was asked for, or the first certificate is a server's."""
        return self.name is not None or self.path.roles[0] is Role.SERVER

    @property
    def ends_at_quickstart(self) -> bool:
        """Whether the missing issuer is one that the daemon makes, and does not send, when nothing is configured."""
        missing = self.path.missing
        return missing is not None and common_name(missing).lower().startswith(_QUICKSTART)


def cn(certificate: x509.Certificate) -> str:
    """Return a certificate's common name."""
    return common_name(certificate.subject)
