"""Pure rules: (certificates, name, trust, now) -> what is wrong, why one can see it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509

from certs import path
from certs.errors import CertsError
from certs.findings import SEVERITIES, Case, Problem
from certs.rules import RULES


def problems(
    certificates: Sequence[x509.Certificate],
    *,
    name: str | None = None,
    trust: Sequence[x509.Certificate] | None = None,
    now: datetime | None = None,
) -> list[Problem]:
    """Return everything wrong with these certificates, the probable cause first.

    Without `name` names are not judged, without `trust` (None) nothing is said about what a leaf trusts.
    """
    case = look(certificates, name=name, trust=trust, now=now)
    found = [problem for rule in RULES for problem in rule(case)]
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))  # stable: RULES decides among equals


def look(
    certificates: Sequence[x509.Certificate],
    *,
    name: str | None,
    trust: Sequence[x509.Certificate] | None,
    now: datetime | None,
) -> Case:
    """Prepare what the rules look at."""
    if not certificates:
        raise CertsError("there is no certificate to look at", "give a PEM file or HOST:PORT")
    walked = path.find(certificates, trust or ())
    return Case(tuple(certificates), walked, name, None if trust is None else tuple(trust), now or datetime.now(UTC))
