"""What a check is and what comes of it, in the words of `iotedge check` (CheckResult, edgelet/iotedge/src/check).

Rule: a check yields findings and facts; none means OK. It raises Skip when it cannot know, NotApplicable when there is
nothing to look at. Errors of certs, leafsim and gateway are findings too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from certs import Problem
from certs.errors import CertsError
from certs.outcomes import MEASURED_STACKS
from certs.prediction import refusing
from gateway.errors import GatewayError
from leafsim.errors import LeafError

if TYPE_CHECKING:
    from scenarios.check.subject import Subject


class Status(StrEnum):
    """What came of a check; the values are those of the product's JSON."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"  # it cannot be known from here
    IGNORED = "ignored"  # there is nothing to check, or the user does not want it


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what and what to do (shown always), and where one sees it (shown with --verbose)."""

    status: Status
    message: str
    causes: tuple[str, ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """Say a diagnose rule's finding; a note counts as a warning."""
        status = Status.ERROR if problem.severity == "error" else Status.WARNING
        causes = [f"{problem.rule}: {problem.evidence}", *_refused_by(problem)]
        return cls(status, f"{problem.cause}\n{problem.fix}", tuple(causes))


@dataclass(frozen=True)
class Fact:
    """Something that was looked at, for `additional_info`."""

    name: str
    value: Any


Looked = Iterator[Finding | Fact]
Look = Callable[["Subject"], Looked]


class Skip(Exception):
    """The check cannot be made from here; the text says why."""


class NotApplicable(Exception):
    """There is nothing to check; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check: its id and description are the product's where the product has it."""

    id: str
    description: str
    look: Look

    def run(self, subject: Subject) -> Outcome:
        """Look, and say what came of it."""
        outcome = Outcome(self)
        try:
            for found in self.look(subject):
                outcome.add(found)
        except Skip as reason:
            outcome.stop(Status.SKIPPED, str(reason))
        except NotApplicable as reason:
            outcome.stop(Status.IGNORED, str(reason))
        except (CertsError, LeafError, GatewayError) as error:
            outcome.add(error_finding(error))
        return outcome


@dataclass
class Outcome:
    """What came of one check. `reason` says why it was skipped or ignored."""

    check: Check
    status: Status = Status.OK
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def add(self, found: Finding | Fact) -> None:
        """Take a finding or a fact; the worst finding decides."""
        if isinstance(found, Fact):
            self.facts[found.name] = found.value
            return
        self.findings.append(found)
        if self.status is not Status.ERROR:
            self.status = found.status

    def stop(self, status: Status, reason: str) -> None:
        """End without an answer; what was found before stays the answer."""
        if not self.findings:
            self.status, self.reason = status, reason

    @property
    def details(self) -> list[str]:
        """All of it as the product's `details`: the message first, then its causes; the reason of a skipped one."""
        if not self.findings:
            return [self.reason] if self.reason else []
        causes = [cause for finding in self.findings for cause in finding.causes]
        return ["\n".join(finding.message for finding in self.findings), *causes]


def check(identity: str, description: str) -> Callable[[Look], Check]:
    """Make a function a check."""
    return lambda look: Check(identity, description, look)


def warning(message: str, *causes: str) -> Finding:
    """A finding that does not fail the run."""
    return Finding(Status.WARNING, message, causes)


def error(message: str, *causes: str) -> Finding:
    """A finding that fails the run."""
    return Finding(Status.ERROR, message, causes)


def told(problems: Iterable[Problem], family: str, *, notes: bool = False) -> Iterator[Finding]:
    """The findings of one family of diagnose rules (their first letter); notes only where they are worth a warning."""
    for problem in problems:
        if problem.rule.startswith(family) and (notes or problem.severity != "note"):
            yield Finding.of(problem)


def _refused_by(problem: Problem) -> Iterator[str]:
    """Who refuses because of it, as far as a chain that fails for the same reason was measured."""
    keys = refusing(problem)
    stacks = [(stack.key in keys, stack.title) for stack in MEASURED_STACKS.values()]
    refused, accepted = ([title for refuses, title in stacks if refuses is which] for which in (True, False))
    if not accepted:
        yield f"refused by all of {len(stacks)} measured TLS stacks"
    elif len(refused) > len(accepted):
        yield f"refused by all of {len(stacks)} measured TLS stacks but {', '.join(accepted)}"
    elif refused:
        yield f"refused by {', '.join(refused)} (measured)"


def error_finding(wrong: CertsError | LeafError | GatewayError) -> Finding:
    """Say an error of another package: its message, and its hint as what to do."""
    return error(f"{wrong.message}\n{wrong.hint}" if wrong.hint else wrong.message)
