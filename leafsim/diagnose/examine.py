"""From an address, or from files, to a report.

Rule: what a real handshake says decides the verdict. When the rules say otherwise, that is a finding of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

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
from leafsim.address import is_address
from leafsim.diagnose import connect, reach
from leafsim.diagnose.report import Finding, Report, Served, StackAnswer, headline, of_problem, ordered
from leafsim.errors import LeafError
from leafsim.stacks import STACKS, Outcome, Target

_NO_NAME = re.compile(r"[\s/:@\0]")


@dataclass(frozen=True)
class _Question:
    """Who is asked for, and what the leaf trusts."""

    target: str
    name: str
    trust: tuple[x509.Certificate, ...] | None
    now: datetime | None = None


@dataclass(frozen=True)
class Examination:
    """A report with what it was made from: the served certificates in their order, and the trusted ones if known."""

    report: Report
    served: tuple[x509.Certificate, ...]
    trusted: tuple[x509.Certificate, ...] | None


def diagnose(target: str, **options: Any) -> Report:
    """Look at HOST:PORT; options as for `examine`."""
    return examine(target, **options).report


def examine(
    target: str,
    *,
    name: str | None = None,
    trust: Path | None = None,
    connection_string: str | None = None,
    connecting: bool = True,
    stacks: Sequence[str] = (),
    timeout: float = 10.0,
) -> Examination:
    """Look at HOST:PORT within `timeout` seconds. Raises CertsError or LeafError for a wrong address or file.

    `name` is what leaves call the gateway (the GatewayHostName of the connection string by default, else the host),
    `trust` the PEM file with the root that they trust; without it nothing is said about trust. With a
    `connection_string` its device connects once, unless `connecting` is false. `stacks` are further TLS stacks to ask,
    as in `leafsim.STACKS`.
    """
    deadline = time.monotonic() + timeout
    host, port = parse_address(target)
    identity = connect.Identity.of(connection_string)
    trusted = None if trust is None else tuple(files.read_certificates(trust))
    question = _Question(target, _usable(name or identity.gateway or host), trusted)
    where = reach.Where(host, port, question.name, deadline)
    try:
        served = tuple(capture(host, port, server_name=question.name, timeout=timeout))
    except CaptureError as error:
        about = [_finding(reach.of_failure(error, where)), *identity.findings(question.name, None)]
        return Examination(_report(question, [], about, {}, "unreachable"), (), trusted)
    found = [*reach.of_handshake(where), *_problems(question, served)]
    asked = Target(host, port, question.name, trust)
    live = {stack: STACKS[stack].probe(asked, _left(deadline)) for stack in (*_own(trust), *stacks)}
    answers = _predicted(found)
    answers.update({MEASURED_STACKS[one].key if one in MEASURED_STACKS else one: _live(live[one]) for one in live})
    about = _against([_finding(problem) for problem in found], live.get("python"))
    about += identity.findings(question.name, served[0])
    report = _report(question, served, about, answers)
    if connecting and not any(one.severity == "error" and not one.rule.startswith("M") for one in about):
        answer = identity.connect(asked, _left(deadline))
        report = _report(question, served, [*about, *answer.findings], answers)
        report = report.model_copy(update={"accepted": answer.accepted})
    return Examination(report, served, trusted)


def diagnose_files(chain: Path, **options: Any) -> Report:
    """Judge a chain in a PEM file; options as for `examine_files`."""
    return examine_files(chain, **options).report


def examine_files(
    chain: Path, *, name: str | None = None, trust: Path | None = None, at: datetime | None = None
) -> Examination:
    """Judge a chain in a PEM file, as it would be served; `at` is the time to judge it for."""
    served = tuple(files.read_certificates(chain))
    trusted = None if trust is None else tuple(files.read_certificates(trust))
    question = _Question(str(chain), _usable(name) if name else "", trusted, at)
    found = _problems(question, served)
    report = _report(question, served, [_finding(problem) for problem in found], _predicted(found))
    return Examination(report, served, trusted)


def _usable(name: str) -> str:
    """Refuse what no TLS client can ask for, as a real one does when it sets the server name (RFC 6066, section 3)."""
    if is_address(name):
        return name
    try:
        name.encode("idna")
        if _NO_NAME.search(name):
            raise UnicodeError
    except UnicodeError:
        hint = "write the bare name: no scheme, port or blank, no empty part, at most 63 letters between two dots"
        raise LeafError(f"{name!r} is no host name", hint) from None
    return name


def _problems(question: _Question, served: Sequence[x509.Certificate]) -> list[Problem]:
    return problems(served, name=question.name or None, trust=question.trust, now=question.now)


def _own(trust: Path | None) -> tuple[str, ...]:
    return () if trust is None else ("python",)


def _left(deadline: float) -> float:
    return max(0.5, deadline - time.monotonic())


def _live(outcome: Outcome) -> StackAnswer:
    return StackAnswer(
        ok=outcome.ok, message=outcome.message, source="live", depth=outcome.depth, version=outcome.version
    )


def _predicted(found: list[Problem]) -> dict[str, StackAnswer]:
    """What the measured stacks would say; who must show a certificate is turned away whatever his stack is."""
    turned_away = next((problem.evidence for problem in found if problem.rule == "D4"), None)
    return {
        key: StackAnswer(ok=one.ok and not turned_away, message=one.message or turned_away or "", source="predicted")
        for key, one in predict(found).items()
    }


def _finding(problem: Problem) -> Finding:
    everybody = [stack.key for stack in MEASURED_STACKS.values()]
    affected = everybody if problem.rule == "D4" else [key for key in everybody if key in refusing(problem)]
    return of_problem(problem, affected)


def _against(about: list[Finding], live: Outcome | None) -> list[Finding]:
    """Hold the rules against a real handshake: where they do not agree it counts, and that is worth a report."""
    errors = [one for one in about if one.severity == "error" and one.rule != "D4"]
    turned_away = len(errors) < sum(one.severity == "error" for one in about)  # before or after the handshake's end
    if live is None or live.ok is not bool(errors) or (turned_away and not live.ok):
        return about
    seen = "a leaf here connects" if live.ok else f"a leaf here is refused: {live.message}"
    contradiction = Finding(
        rule="X1",
        severity="note" if live.ok else "error",
        cause=f"a leaf connects in spite of {', '.join(one.rule for one in errors)}"
        if live.ok
        else "a leaf refuses, or is refused, for a reason that the rules do not know",
        evidence=f"{seen} ({live.version})",
        fix="the real handshake counts; please report this chain: the output of --json has no secrets",
    )
    return [*(one.model_copy(update={"severity": "warning"}) if one in errors else one for one in about), contradiction]


def _report(
    question: _Question,
    served: Sequence[x509.Certificate],
    findings: list[Finding],
    stacks: dict[str, StackAnswer],
    verdict: Literal["unreachable"] | None = None,
) -> Report:
    found = ordered(findings)
    failed = any(finding.severity == "error" for finding in found)
    return Report(
        target=question.target,
        name=question.name,
        verdict=verdict or ("fail" if failed else "ok"),
        headline=headline(found),
        findings=found,
        stacks=stacks,
        chain=_chain(served, question.trust or ()),
        trusted=None if question.trust is None else [one.subject.rfc4514_string() for one in question.trust],
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
