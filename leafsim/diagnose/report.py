"""The result of a diagnosis, in the shape that `leafgate diagnose --json` prints.

Rule: a change here is a new field or a new version, never a new meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from certs.findings import SEVERITIES, Problem, Severity

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class Headline(BaseModel):
    """The probable cause."""

    model_config = _SHAPE

    rule: str
    cause: str
    fix: str


class Finding(BaseModel):
    """One thing that is wrong; `certificate` is its place among the served ones, from 0."""

    model_config = _SHAPE

    rule: str
    severity: Severity
    cause: str
    evidence: str
    certificate: int | None = None
    fix: str
    affects: list[str] = Field(default=[], description="the measured TLS stacks that refuse because of it")


class StackAnswer(BaseModel):
    """What one TLS stack says: `live` it was asked, `predicted` from what others like it said to such chains."""

    model_config = _SHAPE

    ok: bool
    message: str
    source: Literal["live", "measured", "predicted"]
    depth: int | None = None


class Served(BaseModel):
    """One certificate, as it was served; times are ISO 8601 in UTC."""

    model_config = _SHAPE

    role: str
    subject: str
    issuer: str
    not_before: str
    not_after: str
    san: list[str]


class Report(BaseModel):
    """Everything found out about one gateway.

    `verdict` is `fail` when a leaf on OpenSSL 3 is refused, or refuses; what only other stacks refuse is `ok`, with a
    warning as headline that names them. `unreachable` means that no certificate was shown.
    """

    model_config = _SHAPE

    version: Literal[1] = 1
    target: str
    name: str
    verdict: Literal["ok", "fail", "unreachable"]
    headline: Headline | None
    findings: list[Finding]
    stacks: dict[str, StackAnswer]
    chain: list[Served]

    def as_json(self) -> dict[str, Any]:
        """Return the report for a program."""
        return self.model_dump(mode="json")


def headline(findings: list[Finding]) -> Headline | None:
    """Return the first finding that anybody has to do something about."""
    for finding in findings:
        if finding.severity != "note":
            return Headline(rule=finding.rule, cause=finding.cause, fix=finding.fix)
    return None


def ordered(findings: list[Finding]) -> list[Finding]:
    """Put the gravest first; among equals the order in which they were found stays."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def of_problem(problem: Problem, affects: list[str]) -> Finding:
    """Return a finding about certificates in this shape."""
    return Finding(
        rule=problem.rule,
        severity=problem.severity,
        cause=problem.cause,
        evidence=problem.evidence,
        certificate=problem.certificate,
        fix=problem.fix,
        affects=affects,
    )
