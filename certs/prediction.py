"""Who is affected: what each measured TLS stack would make of a chain, from what is wrong with it.

Rule: nothing is invented here. Every finding names a measured chain that fails for the same reason, and a stack that
refused that chain is expected to refuse this one, in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certs.findings import SEVERITIES, Problem
from certs.outcomes import MEASURED_STACKS, outcomes


@dataclass(frozen=True)
class Prediction:
    """One stack's expected answer; `rule` is the finding that makes it refuse."""

    ok: bool
    message: str = ""
    rule: str | None = None


def predict(problems: Iterable[Problem]) -> dict[str, Prediction]:
    """Return what to expect of each measured stack, by its key in the table."""
    found = sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))
    return {stack.key: _of(stack.key, found) for stack in MEASURED_STACKS.values()}


def refusing(problem: Problem) -> frozenset[str]:
    """Return the keys of the stacks that refuse because of one finding."""
    if not problem.like:
        return frozenset()
    refused = frozenset(outcomes()[problem.like].refused)
    return refused & frozenset(problem.only) if problem.only else refused


def _of(key: str, found: list[Problem]) -> Prediction:
    for problem in found:
        if key in refusing(problem):
            return Prediction(False, outcomes()[problem.like].refused[key].message, problem.rule)
    return Prediction(True)
