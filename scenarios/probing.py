"""Attempts to connect, made by a device or by a bare TLS stack, in the words of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from leafsim import ConnackRefused, Disconnected, LeafError, TlsRefused, Unreachable
from leafsim.stacks import STACKS, Outcome, Target
from scenarios.attempt import Attempt
from scenarios.errors import SkippedError

if TYPE_CHECKING:
    from scenarios.cast import Actor
    from scenarios.expectations import Verdict


NOT_REACHED = ("refused", "timeout", "name", "network")


@dataclass(frozen=True)
class StackNote:
    """What is known of one TLS stack in a scenario, and how it is known."""

    stack: str
    source: Literal["live", "modelled", "measured"]
    expected: str
    got: str
    as_expected: bool = True

    def as_json(self) -> dict[str, object]:
        """The note as the JSON report has it."""
        return {
            "stack": self.stack,
            "source": self.source,
            "expected": self.expected,
            "got": self.got,
            "ok": self.as_expected,
        }


def attempt_of(error: LeafError | None) -> Attempt:
    """What a device's attempt came to; None is success."""
    match error:
        case None:
            return Attempt(connected=True)
        case TlsRefused():
            text = error.verify_message or (f"alert {error.alert}" if error.alert else error.detail)
            return Attempt(connected=False, by=error.by, kind="tls", verify_code=error.verify_code, message=text)
        case ConnackRefused():
            return Attempt(connected=False, by="gateway", kind="connack", message=error.name, connack=error.code)
        case Unreachable():
            return Attempt(connected=False, kind="unreachable", message=error.detail)
        case Disconnected():
            return Attempt(connected=False, by="gateway", kind="disconnected", message=error.reason)
    raise error  # not an outcome: what the leaf was given cannot be used


def try_stack(actor: Actor, timeout: float) -> Attempt:
    """Let the leaf's own TLS stack try."""
    outcome = _probe(actor, actor.setting.stack, timeout)
    if outcome is None:
        raise SkippedError(f"the TLS stack {actor.setting.stack} is not at hand: {_missing(actor.setting.stack)}")
    return _of_outcome(outcome)


def probe(actor: Actor, stack: str, verdict: Verdict, timeout: float) -> StackNote | None:
    """Let another TLS stack try what the leaf tried; None when it is not at hand."""
    outcome = _probe(actor, stack, timeout)
    if outcome is None:
        return None
    attempt = _of_outcome(outcome)
    source: Literal["live", "modelled"] = "modelled" if outcome.modelled else "live"
    return StackNote(stack, source, verdict.describe(), attempt.describe(), attempt.meets(verdict))


def measured(stack: str, verdict: Verdict) -> StackNote:
    """What an earlier measurement gave for a stack that is not at hand: the scenario's author has it from there."""
    return StackNote(stack, "measured", verdict.describe(), verdict.describe())


def _probe(actor: Actor, stack: str, timeout: float) -> Outcome | None:
    if stack not in STACKS or _missing(stack):
        return None
    host, port = actor.connect_to[(actor.connection.target, actor.port)]
    return STACKS[stack].probe(Target(host, port, actor.connection.target, actor.pem), timeout)


def _missing(stack: str) -> str:
    return STACKS[stack].available() or ""


def _of_outcome(outcome: Outcome) -> Attempt:
    """A bare stack has one code for everything: OpenSSL's number, a word for the network, or the alert it received."""
    if outcome.ok:
        return Attempt(connected=True)
    if isinstance(outcome.code, int) or outcome.modelled or outcome.code is None:
        code = outcome.code if isinstance(outcome.code, int) else None
        return Attempt(connected=False, by="leaf", kind="tls", verify_code=code, message=outcome.message)
    if outcome.code in NOT_REACHED:
        return Attempt(connected=False, kind="unreachable", message=outcome.message)
    return Attempt(connected=False, by="gateway", kind="tls", message=outcome.message)
