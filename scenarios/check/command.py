"""From the options of `leafgate check` to its report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TextIO

from scenarios.check import registry, report
from scenarios.check.model import Outcome, Status
from scenarios.check.sources import Inputs, find
from scenarios.check.subject import Subject
from scenarios.reports.text import Style


def run_check(
    inputs: Inputs,
    out: TextIO,
    *,
    dont_run: Collection[str] = (),
    warnings_as_errors: bool = False,
    verbose: bool = False,
    as_json: bool = False,
) -> bool:
    """Check and write the report; returns whether an error was found. Raises when what to check cannot be read."""
    registry.known(dont_run)
    subject = find(inputs)
    made: list[Outcome] = []

    def watched(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            made.append(_strictly(outcome) if warnings_as_errors else outcome)
            yield made[-1]

    sections = ((section, watched(outcomes)) for section, outcomes in registry.run(subject, dont_run=dont_run))
    for line in report.text(sections, Style.of(out), verbose=verbose):
        if not as_json:
            out.write(line + "\n")
            out.flush()
    if as_json:
        out.write(report.as_json(made, _about(subject)))
    return any(outcome.status is Status.ERROR for outcome in made)


def _strictly(outcome: Outcome) -> Outcome:
    """A warning as the error that the user takes it for."""
    return replace(outcome, status=Status.ERROR) if outcome.status is Status.WARNING else outcome


def _about(subject: Subject) -> dict[str, Any]:
    """The top of the JSON: what was checked and when."""
    return {
        "now": subject.now.isoformat(timespec="seconds"),
        "leafgate_version": version("leafgate"),
        "name": subject.name,
        "trust": None if subject.trust is None else str(subject.trust),
    }
