"""From an address, or from files, to a report.

Rule: what a real handshake says decides the verdict. When the rules say otherwise, that is a finding of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509

from certs import files
from certs.capture import capture, parse_address
from certs.diagnose import problems
from certs.errors import CaptureError
from certs.findings import Problem
from certs.hostname import alternative_names
from certs.outcomes import MEASURED_STACKS
from certs.path import find
from certs.prediction import predict, refusing
from leafsim.diagnose import connect, reach
from leafsim.diagnose.report import Finding, Report, Served, StackAnswer, headline, of_problem, ordered
from leafsim.stacks import STACKS, Outcome, Target

PYTHON = MEASURED_STACKS["python"].key


@dataclass(frozen=True)
class _Question:
    """Who is asked for, and what the leaf trusts."""

    target: str
    name: str
    trust: tuple[x509.Certificate, ...] | None
    now: datetime | None = None


def diagnose(
    target: str,
    *,
    name: str | None = None,
    trust: Path | None = None,
    connection_string: str | None = None,
    connecting: bool = True,
    stacks: Sequence[str] = (),
    timeout: float = 10.0,
) -> Report:
    """Look at HOST:PORT within `timeout` seconds. Raises CertsError or LeafError for a wrong address or file.

    `name` is what leaves call the gateway (the host by default), `trust` the PEM file with the root that they trust;
    without it nothing is said about trust. With a `connection_string` its device connects once, unless `connecting` is
    false. `stacks` are further TLS stacks to ask, as in `leafsim.STACKS`.
    """
    deadline = time.monotonic() + timeout
    host, port = parse_address(target)
    question = _Question(target, name or host, None if trust is None else tuple(files.read_certificates(trust)))
    where = reach.Where(host, port, question.name, deadline)
    parsed, about_string = (
        (None, []) if connection_string is None else connect.of_string(connection_string, question.name)
    )
    try:
        served = capture(host, port, server_name=question.name, timeout=timeout)
    except CaptureError as error:
        unreachable = reach.of_failure(error, where)
        return _report(question, [], [unreachable, *about_string], {}, "unreachable")
    found = _problems(question, served)
    handshake = [
        finding for look in (reach.of_versions, reach.of_client_certificate) if (finding := look(where)) is not None
    ]
    answers = _predicted(found)
    asked = Target(host, port, question.name, trust)
    live = {stack: STACKS[stack].probe(asked, _left(deadline)) for stack in (*_own(trust), *stacks)}
    answers.update({MEASURED_STACKS[one].key if one in MEASURED_STACKS else one: _live(live[one]) for one in live})
    about = [*handshake, *(_finding(problem) for problem in found)]
    about += _contradiction(about, live.get("python"))
    if parsed is not None and connecting and not any(one.severity == "error" for one in about):
        refusal = connect.of_connect(parsed, host, port, trust, _left(deadline))
        about_string += [refusal] if refusal else []
    return _report(question, served, [*about, *about_string], answers)


def diagnose_files(
    chain: Path, *, name: str | None = None, trust: Path | None = None, at: datetime | None = None
) -> Report:
    """Judge a chain in a PEM file, as it would be served; `at` is the time to judge it for."""
    served = files.read_certificates(chain)
    trusted = None if trust is None else tuple(files.read_certificates(trust))
    question = _Question(str(chain), name or "", trusted, at)
    found = _problems(question, served)
    return _report(question, served, [_finding(problem) for problem in found], _predicted(found))


def _problems(question: _Question, served: Sequence[x509.Certificate]) -> list[Problem]:
    return problems(served, name=question.name or None, trust=question.trust, now=question.now)


def _own(trust: Path | None) -> tuple[str, ...]:
    return () if trust is None else ("python",)


def _left(deadline: float) -> float:
    return max(0.5, deadline - time.monotonic())


def _live(outcome: Outcome) -> StackAnswer:
    return StackAnswer(ok=outcome.ok, message=outcome.message, source="live", depth=outcome.depth)


def _predicted(found: list[Problem]) -> dict[str, StackAnswer]:
    return {key: StackAnswer(ok=one.ok, message=one.message, source="predicted") for key, one in predict(found).items()}


def _finding(problem: Problem) -> Finding:
    return of_problem(problem, sorted(refusing(problem)))


def _contradiction(about: list[Finding], live: Outcome | None) -> list[Finding]:
    """Say that a real handshake and the rules do not agree, which is worth a bug report."""
    errors = [one for one in about if one.severity == "error"]
    if live is None or live.ok is not bool(errors):
        return []
    seen = "a leaf on this machine's OpenSSL connects" if live.ok else f"a leaf here is refused: {live.message}"
    return [
        Finding(
            rule="X1",
            severity="note" if live.ok else "error",
            cause="a real handshake says otherwise than the rules"
            if errors
            else "a leaf refuses for a reason unknown here",
            evidence=f"{seen} ({live.version})",
            fix="the real handshake counts; please report this chain (--save keeps it, without secrets)",
        )
    ]


def _report(
    question: _Question,
    served: Sequence[x509.Certificate],
    findings: list[Finding],
    stacks: dict[str, StackAnswer],
    verdict: Literal["unreachable"] | None = None,
) -> Report:
    found = ordered(findings)
    failed = any(finding.severity == "error" for finding in found)
    live = stacks.get(PYTHON)
    if live is not None and live.source == "live" and live.ok:
        failed = any(finding.severity == "error" and not finding.affects for finding in found)
    return Report(
        target=question.target,
        name=question.name,
        verdict=verdict or ("fail" if failed else "ok"),
        headline=headline(found),
        findings=found,
        stacks=stacks,
        chain=_chain(served, question.trust or ()),
    )


def _chain(served: Sequence[x509.Certificate], trust: Sequence[x509.Certificate]) -> list[Served]:
    if not served:
        return []
    walked = find(served, trust)
    roles = dict(zip(walked.certificates, walked.roles, strict=True))
    return [
        Served(
            role=str(roles.get(one, "not part of the chain")),
            subject=one.subject.rfc4514_string(),
            issuer=one.issuer.rfc4514_string(),
            not_before=one.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
            not_after=one.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
            san=[str(name) for names in alternative_names(one) for name in names],
        )
        for one in served
    ]
