"""A report for people: the cause first, what to do, who is affected, then the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from certs.outcomes import MEASURED_STACKS
from leafsim.diagnose.report import Finding, Report

_VERDICTS = {
    "ok": "leaves on OpenSSL 3 connect",
    "fail": "leaves on OpenSSL 3 do not connect",
    "unreachable": "no certificate was shown",
}
_THIS_DEVICE = "leaves on OpenSSL 3 connect, but not this device"
_TITLES = {stack.key: stack.title for stack in MEASURED_STACKS.values()}
_EVERYBODY = 20  # of 26: say who is not affected instead
_FEW = 8
_WIDTH = 110


def lines(report: Report) -> Iterator[str]:
    """Yield the report line by line."""
    named = f" as {report.name}" if report.name else ""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    alone = report.verdict == "fail" and all(finding.rule.startswith("M") for finding in errors)
    yield f"{report.target}{named}: {_THIS_DEVICE if alone else _VERDICTS[report.verdict]}"
    for finding in report.findings:
        yield ""
        yield from _finding(finding)
    if not report.findings:
        yield "nothing is wrong with what it serves"
    if report.accepted:
        yield "the gateway accepts the device of the connection string"
    if report.chain:
        if report.trusted is None:
            yield "what leaves trust was not judged: give it with --trust FILE"
        yield from ("", "served, in this order")
        for at, one in enumerate(report.chain):
            yield f"  {at}  {one.role:<13} {one.subject}  (issuer {one.issuer}, until {one.not_after[:10]})"
        first = min(report.chain, key=lambda one: one.not_after)
        yield f"  all of it is valid until {first.not_after[:10]}, when {first.subject} ends"
    if report.stacks:
        yield from ("", "TLS stacks")
        yield from _stacks(report)


def _finding(finding: Finding) -> Iterator[str]:
    yield from _wrapped(f"{finding.rule} {finding.severity}: ", finding.cause)
    place = "" if finding.certificate is None else f" (certificate {finding.certificate})"
    yield from _wrapped("   seen  ", finding.evidence + place)
    yield from _wrapped("   fix   ", finding.fix)
    if finding.affects:
        yield from _wrapped("   hits  ", _who(finding.affects))


def _who(keys: list[str]) -> str:
    others = [title for key, title in _TITLES.items() if key not in keys]
    if not others:
        return f"every one of {len(_TITLES)} measured TLS stacks"
    if len(keys) >= _EVERYBODY:
        return f"{len(keys)} of {len(_TITLES)} measured TLS stacks; not {', '.join(others)}"
    return ", ".join(_TITLES[key] for key in keys)


def _stacks(report: Report) -> Iterator[str]:
    """Who was asked says more than who is like somebody that was."""
    for key, one in report.stacks.items():
        if one.source == "live":
            answer = "connects" if one.ok else f"refuses: {one.message}"
            yield from _wrapped("  asked just now   ", f"{key} ({one.version}) {answer}")
    others = {key: one.ok for key, one in report.stacks.items() if one.source != "live"}
    connecting = [_TITLES[key] for key, ok in others.items() if ok]
    if len(connecting) == len(others):
        yield f"  by measurement   all {len(others)} others would connect"
    elif not connecting:
        yield f"  by measurement   all {len(others)} others would refuse"
    else:
        others_say = f"{len(others) - len(connecting)} of {len(others)} others would refuse"
        if len(connecting) <= _FEW:
            others_say += f"; these would connect: {', '.join(connecting)}"
        yield from _wrapped("  by measurement   ", others_say)


def _wrapped(head: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * (len(head) if head[0] == " " else 3),
        break_long_words=False, break_on_hyphens=False,
    ) or [head.rstrip()]  # fmt: skip
