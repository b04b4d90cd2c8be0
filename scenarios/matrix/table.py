"""What the stacks at hand say to a chain, beside what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from certs.diagnose import problems
from certs.headlines import CAUSES, rule_of
from certs.outcomes import MEASURED_STACKS, outcomes
from certs.prediction import predict
from certs.recipes import rebuild
from leafsim import STACKS
from leafsim.stacks import Outcome, Target
from scenarios.matrix.server import serving

#: what differs between two runs and says nothing: addresses, places in a source file, versions' ways of writing
_NOISE = re.compile(r"\(_ssl.*|\b[0-9a-f]{12,}:error:[0-9a-f]+:|0x[0-9a-f]+|\.\./ssl/\S+|[^a-z]+")
#: where a live answer cannot be the measured one, and why that is no news
_LATE_ALERT = "TLS 1.3 refuses after the handshake, which a client that leaves at once does not notice"
KNOWN = {("mtls-required", stack): _LATE_ALERT for stack in ("openssl", "curl", "gnutls", "mbedtls")}
_COMPARED = 60  # letters; the table cuts long messages off


@dataclass(frozen=True)
class Answer:
    """One stack's answer to one chain. `agrees` is None where nothing was measured to compare with."""

    stack: str
    source: Literal["live", "measured", "predicted"]
    ok: bool
    message: str
    code: int | str | None = None
    version: str = ""
    agrees: bool | None = None

    @property
    def title(self) -> str:
        """The stack with the version that answered."""
        measured = MEASURED_STACKS.get(self.stack)
        if self.source != "live" and measured is not None:
            return measured.title
        words = self.version.split()
        return f"{self.stack} ({' '.join(words[:2])})" if words[:1] == ["OpenSSL"] else self.version or self.stack

    def as_json(self) -> dict[str, Any]:
        """Return the answer for a program."""
        fields = ("stack", "source", "ok", "message", "code", "version", "agrees")
        return {field: getattr(self, field) for field in fields}


@dataclass(frozen=True)
class Row:
    """One chain and what each stack makes of it; `why` is the cause of the refusals, when it is known."""

    name: str
    summary: str
    answers: tuple[Answer, ...]
    why: str = ""

    @property
    def differences(self) -> tuple[Answer, ...]:
        """Where a stack at hand says something else than was measured."""
        return tuple(answer for answer in self.answers if answer.agrees is False)

    @property
    def nobody_reached(self) -> bool:
        """Whether every stack found nobody listening."""
        return bool(self.answers) and all(answer.code in ("refused", "name") for answer in self.answers)

    def as_json(self) -> dict[str, Any]:
        """Return the row for a program."""
        answers = [one.as_json() for one in self.answers]
        return {"name": self.name, "summary": self.summary, "why": self.why, "answers": answers}


@dataclass(frozen=True)
class Asking:
    """Which stacks to ask, how long each may take, and what else was said about the target."""

    stacks: tuple[str, ...]
    timeout: float = 10.0
    name: str | None = None
    trust: Path | None = None
    key: Path | None = None

    def ask(self, port: int, name: str, trust: Path | None, host: str = "127.0.0.1") -> tuple[Answer, ...]:
        """Let each stack make a handshake."""
        where = Target(host, port, name, trust)
        return tuple(_answer(STACKS[stack].probe(where, self.timeout)) for stack in self.stacks)


def at_hand(wanted: Sequence[str] = ()) -> list[str]:
    """Return the stacks that can be asked here, `wanted` ones or all that are real."""
    names = wanted or [name for name, stack in STACKS.items() if not stack.modelled]
    return [name for name in names if STACKS[name].available() is None]


def measured_rows(names: Iterable[str], asking: Asking, begun: Callable[[str], None] = lambda _: None) -> Iterator[Row]:
    """Serve measured chains one after the other and ask every stack; `begun` hears of each before it starts."""
    for name in names:
        begun(name)
        yield measured_row(name, asking)


def measured_row(name: str, asking: Asking) -> Row:
    """Serve one measured chain; what is not at hand is filled in from the table."""
    measured = outcomes()[name]
    if measured.server_refuses:
        return Row(name, measured.summary, (), because(name))
    with serving(rebuild(name), measured.server) as (port, trust):
        live = [_compared(answer, name) for answer in asking.ask(port, measured.asked, trust)]
    asked = {answer.stack for answer in live}
    rest = [_measured(short, name) for short in MEASURED_STACKS if short not in asked]
    return Row(name, measured.summary, (*live, *rest), because(name))


def predicted_row(
    name: str, called: str, served: Sequence[x509.Certificate], trust: Sequence[x509.Certificate] | None,
    live: Sequence[Answer],
) -> Row:  # fmt: skip
    """A chain that was not measured: what is not at hand is expected to say what it said to a chain like it."""
    found = problems(served, name=called, trust=trust)
    asked = {answer.stack for answer in live}
    expected = predict(found) if trust is not None else {}
    rest = [
        Answer(short, "predicted", expected[one.key].ok, expected[one.key].message)
        for short, one in MEASURED_STACKS.items()
        if short not in asked and one.key in expected
    ]
    headline = next((f"{one.rule}: {one.cause}" for one in found if one.severity != "note"), "")
    return Row(name, f"as {called}", (*live, *rest), headline)


def _answer(outcome: Outcome) -> Answer:
    return Answer(outcome.stack, "live", outcome.ok, outcome.message, outcome.code, outcome.version)


def _measured(short: str, name: str) -> Answer:
    row, key = outcomes()[name], MEASURED_STACKS[short].key
    refusal = row.refused.get(key)
    return Answer(short, "measured", refusal is None, refusal.message if refusal else "")


def _compared(answer: Answer, name: str) -> Answer:
    if answer.stack not in MEASURED_STACKS:
        return answer
    row, key = outcomes()[name], MEASURED_STACKS[answer.stack].key
    connected = row.of(key)
    if connected is None:
        return answer
    if (name, answer.stack) in KNOWN:
        return answer
    agrees = answer.ok is connected and (answer.ok or same_words(answer, row.refused[key].message))
    return Answer(answer.stack, "live", answer.ok, answer.message, answer.code, answer.version, agrees)


def same_words(answer: Answer, measured: str) -> bool:
    """Tell whether a live message and a measured one are the same, as far as the table has it."""
    got, want = _bare(answer.message), _bare(measured)
    if (answer.code, True) in (("eof", "eof" in want), ("timeout", "hang" in want)):
        return True
    if isinstance(answer.code, str) and len(_bare(answer.code)) > len("eof") and _bare(answer.code) in want:
        return True  # an alert, or an error's name
    return got[:_COMPARED] in want or want[:_COMPARED] in _bare(f"{answer.code or ''} {answer.message}")


def _bare(message: str) -> str:
    return _NOISE.sub("", message.lower())


def because(name: str) -> str:
    """Return what a measured chain is about, in a sentence."""
    rule = rule_of(name)
    return f"{rule}: {CAUSES[rule].cause}" if rule in CAUSES else ""
