"""What comes of the checks as `iotedge check` writes it: text for people, JSON for programs.

Rule: marks, endings, indents, underlined sections and closing counts are the product's, so is the shape of the JSON
(edgelet/iotedge/src/check/mod.rs). Only what is skipped has its reason, in text always, in JSON as `details`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from scenarios.check.model import Outcome, Status
from scenarios.check.registry import SECTIONS, Section
from scenarios.reports.text import Style

MARKS = {Status.OK: ("√", "OK", "32"), Status.WARNING: ("‼", "Warning", "33"), Status.ERROR: ("×", "Error", "31")}
_SKIPPED = ("-", "Skipped", "2")


def text(
    sections: Iterable[tuple[Section, Iterable[Outcome]]], style: Style, *, verbose: bool = False
) -> Iterator[str]:
    """The whole report, a line at a time, as the checks are made; the last ones are the counts."""
    counts = dict.fromkeys(Status, 0)
    for section, outcomes in sections:
        heading = [section.title, "-" * len(section.title)]
        for outcome in outcomes:
            counts[outcome.status] += 1
            if outcome.status is not Status.IGNORED:
                yield from heading
                heading = []
                yield from _lines(outcome, style, verbose)
        if not heading:
            yield ""
    yield from _summary(counts, style, verbose)


def _lines(outcome: Outcome, style: Style, verbose: bool) -> Iterator[str]:
    mark, word, colour = MARKS.get(outcome.status, _SKIPPED)
    yield style.paint(f"{mark} {outcome.check.description} - {word}", colour)
    if outcome.reason:
        yield style.paint(f"    {outcome.reason}", colour)
    for finding in outcome.findings:
        yield from (style.paint(f"    {line}".rstrip(), colour) for line in _safe(finding.message))
        for cause in finding.causes if verbose else ():
            first, *rest = _safe(cause)
            yield style.paint(f"        caused by: {first}", colour)
            yield from (style.paint(f"                   {line}", colour) for line in rest)


def _safe(message: str) -> list[str]:
    """The lines of a message; names in certificates come from others, so nothing acts as a control character."""
    return ["".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in line) for line in message.split("\n")]


def _summary(counts: dict[Status, int], style: Style, verbose: bool) -> Iterator[str]:
    more = "" if verbose else " Re-run with --verbose for more details."
    yield style.paint(f"{counts[Status.OK]} check(s) succeeded.", "32")
    if counts[Status.WARNING]:
        yield style.paint(f"{counts[Status.WARNING]} check(s) raised warnings.{more}", "33")
    if counts[Status.ERROR]:
        yield style.paint(f"{counts[Status.ERROR]} check(s) raised errors.{more}", "31")
    if counts[Status.SKIPPED]:
        yield style.paint(f"{counts[Status.SKIPPED]} check(s) were skipped.", "2")


def as_json(outcomes: Iterable[Outcome], about: dict[str, Any]) -> str:
    """The product's JSON: `additional_info`, and for each check its result and what it looked at."""
    checks = {
        one.check.id: {
            "result": {"result": one.status.value} | ({"details": one.details} if one.details else {}),
            "additional_info": one.facts,
        }
        for one in outcomes
    }
    return json.dumps({"additional_info": about, "checks": dict(sorted(checks.items()))}, ensure_ascii=False) + "\n"


def listing() -> Iterator[str]:
    """`--list`: category, id and description, as the product prints them."""
    rows = [("CATEGORY", "ID", "DESCRIPTION")]
    rows += [(section.title, one.id, one.description) for section in SECTIONS for one in section.checks]
    widths = [max(len(row[column]) for row in rows) + 1 for column in (0, 1)]
    previous = ""
    for category, identity, description in rows:
        if category != previous:
            yield from [""] if previous else []
        previous = category
        yield f"{category:<{widths[0]}}{identity:<{widths[1]}}{description}"
