"""A hierarchy in words: a tree with one line per level, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from certs.diagnose import look, problems
from certs.findings import Case, Problem, cn
from certs.names import common_name

__all__ = ["Line", "Problem", "lines", "problems", "tree"]


@dataclass(frozen=True)
class Line:
    """One level, as the tree shows it; `certificate` is None for one that is missing."""

    depth: int  # 0 is the top
    role: str
    common_name: str
    issuer: str
    validity: str
    remarks: tuple[str, ...] = ()
    certificate: x509.Certificate | None = None

    def __str__(self) -> str:
        branch = "   " * (self.depth - 1) + "└─ " if self.depth else ""
        parts = [f"{branch}{self.role}: {self.common_name}", self.issuer, self.validity, *self.remarks]
        return "  |  ".join(part for part in parts if part)


def tree(
    certificates: Sequence[x509.Certificate],
    *,
    name: str | None = None,
    trust: Sequence[x509.Certificate] | None = None,
    now: datetime | None = None,
) -> str:
    """Return the hierarchy as text, the top first."""
    return "\n".join(map(str, lines(certificates, name=name, trust=trust, now=now)))


def lines(
    certificates: Sequence[x509.Certificate],
    *,
    name: str | None = None,
    trust: Sequence[x509.Certificate] | None = None,
    now: datetime | None = None,
) -> list[Line]:
    """Return the hierarchy as lines, the top first; what is sent but belongs to no level comes last."""
    case = look(certificates, name=name, trust=trust, now=now)
    found = problems(certificates, name=name, trust=trust, now=now)
    result = _missing_top(case)
    for step, role in reversed(list(zip(case.path.steps, case.path.roles, strict=True))):
        remarks = tuple(one.cause for one in found if one.certificate is not None and one.certificate == step.index)
        remarks += ("not sent",) if step.index is None else ()
        result.append(_line(step.certificate, len(result), role, remarks))
    for at in case.path.unused:
        result.append(_line(case.sent[at], 0, "no part of the chain", ()))
    return result


def _missing_top(case: Case) -> list[Line]:
    """Return a line for the issuer that nobody has, or whose key did not sign."""
    if case.path.wrong_key is not None:
        return [
            Line(0, "wrong key", cn(case.path.wrong_key.certificate), "", "", ("its key did not sign what is below",))
        ]
    if case.path.missing is None:
        return []
    where = "not sent" if case.trust is None else "neither sent nor trusted"
    return [Line(0, "missing", common_name(case.path.missing), "", "", (where,))]


def _line(one: x509.Certificate, depth: int, role: str, remarks: tuple[str, ...]) -> Line:
    issuer = "self-signed" if one.issuer == one.subject and role != "server" else f"issued by {common_name(one.issuer)}"
    validity = f"{one.not_valid_before_utc:%Y-%m-%d} to {one.not_valid_after_utc:%Y-%m-%d}"
    return Line(depth, str(role), cn(one), issuer, validity, remarks, one)
