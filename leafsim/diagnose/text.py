"""A report for people: the cause first, what to do, who is affected, then the rest."""

from __future__ import annotations

from collections.abc import Iterator

from certs.outcomes import MEASURED_STACKS
from leafsim.diagnose.report import Finding, Report

_VERDICTS = {
    "ok": "leaves on OpenSSL 3 connect",
    "fail": "leaves on OpenSSL 3 do not connect",
    "unreachable": "no certificate was shown",
}
_TITLES = {stack.key: stack.title for stack in MEASURED_STACKS.values()}
_EVERYBODY = 24  # of 26: say who is not affected instead


def lines(report: Report) -> Iterator[str]:
    """Yield the report line by line."""
    named = f" as {report.name}" if report.name else ""
    yield f"{report.target}{named}: {_VERDICTS[report.verdict]}"
    for finding in report.findings:
        yield ""
        yield from _finding(finding)
    if not report.findings:
        yield "nothing is wrong with what it serves"
    if report.chain:
        yield ""
        yield "served, in this order"
        for at, one in enumerate(report.chain):
            yield f"  {at}  {one.role:<13} {one.subject}  (issuer {one.issuer}, until {one.not_after[:10]})"
    yield from _stacks(report)


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.rule} {finding.severity}: {finding.cause}"
    place = "" if finding.certificate is None else f" (certificate {finding.certificate})"
    yield f"   seen  {finding.evidence}{place}"
    yield f"   fix   {finding.fix}"
    if finding.affects:
        yield f"   hits  {_who(finding.affects)}"


def _who(keys: list[str]) -> str:
    others = [title for key, title in _TITLES.items() if key not in keys]
    if not others:
        return f"every one of {len(_TITLES)} measured TLS stacks"
    if len(keys) >= _EVERYBODY:
        return f"{len(keys)} of {len(_TITLES)} measured TLS stacks; not {', '.join(others)}"
    return ", ".join(_TITLES[key] for key in keys)


def _stacks(report: Report) -> Iterator[str]:
    live = {key: one for key, one in report.stacks.items() if one.source == "live"}
    predicted = {key: one for key, one in report.stacks.items() if one.source != "live"}
    if not report.stacks:
        return
    yield ""
    yield "TLS stacks"
    for key, one in live.items():
        answer = "connects" if one.ok else f"refuses: {one.message}"
        yield f"  asked just now   {_TITLES.get(key, key)} {answer}"
    for ok, words in ((True, "would connect"), (False, "would refuse")):
        keys = [key for key, one in report.stacks.items() if key in _TITLES and one.ok is ok]
        if keys and predicted:
            yield f"  {words:<15}  {_who(keys)}"
