"""What comes of a check that finds several things, or stops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from certs.errors import CertsError
from scenarios.check.model import Fact, Finding, NotApplicable, Skip, Status, check, error, warning
from scenarios.check.subject import Subject
from tests.scenarios.check.conftest import subject


def outcome_of(*found: Finding | Fact | Exception):
    """Run a check that yields these, or raises the last."""

    @check("id", "description")
    def look(asked: Subject) -> Iterator[Finding | Fact]:
        for one in found:
            if isinstance(one, Exception):
                raise one
            yield one

    return look.run(subject())


@pytest.mark.parametrize(
    ("found", "status", "details"),
    [
        ((), Status.OK, []),
        ((Fact("a", 1),), Status.OK, []),
        ((warning("w", "why"),), Status.WARNING, ["w", "why"]),
        ((error("e"), warning("w")), Status.ERROR, ["e\nw"]),
        ((warning("w"), error("e", "why")), Status.ERROR, ["w\ne", "why"]),
        ((Skip("later"),), Status.SKIPPED, ["later"]),
        ((NotApplicable("none"),), Status.IGNORED, ["none"]),
        ((warning("w"), Skip("later")), Status.WARNING, ["w"]),
        ((CertsError("broken", "mend it"),), Status.ERROR, ["broken\nmend it"]),
    ],
)
def test_worst_finding_decides(found: tuple[Finding, ...], status: Status, details: list[str]) -> None:
    """Error before warning in any order; what stops a check does not undo what it found."""
    outcome = outcome_of(*found)
    assert (outcome.status, outcome.details) == (status, details)


def test_mistake_in_the_program_is_not_taken_for_a_finding() -> None:
    """Only errors that are meant for people are findings."""
    with pytest.raises(ZeroDivisionError):
        outcome_of(ZeroDivisionError())
