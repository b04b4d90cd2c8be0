"""From a pasted error message to the causes that produce this very message.

Rule: nothing is guessed. A message counts when a measured TLS stack said it (`certs.outcomes`), or when it stands in
the table of what SDKs, sockets and the gateway say besides (`leafsim.sayings`). What differs from run to run (file
names, line numbers, host names, addresses, dates) does not count, and of several messages the one that tells most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

from certs.headlines import CAUSES, why_refused
from certs.outcomes import MEASURED_STACKS, Outcome, outcomes
from certs.recipes import RECIPES, Recipe
from leafsim.sayings import Saying, said, said_around

_TITLES = {stack.key: stack.title for stack in MEASURED_STACKS.values()}
_PLACES = {key: place for place, key in enumerate(_TITLES)}
_ORDER = {rule: place for place, rule in enumerate(CAUSES)}
_LEAST_WORDS, _LEAST_LETTERS = 3, 12  # shorter messages would be found in anything
_MOST = 200_000  # letters of a pasted log that are looked at, its end
_CUT = 160  # letters of a message that were kept when it was measured: the last word of a longer one is cut
_USUAL = 0.6  # the cause of more of the chains that got a message comes first, however rare it is otherwise
#: library scenarios that show a rule
_SCENARIOS = {
    "T1": "tls/root-missing-on-leaf", "C1": "tls/missing-intermediate", "T5": "lifecycle/quickstart-still-served",
    "N4": "tls/hostname-mismatch", "N1": "tls/ip-address-without-ip-san", "E1": "tls/expired-server-certificate",
    "E2": "tls/not-yet-valid", "T2": "tls/same-named-root-other-key", "L4": "tls/cn-loop-without-key-ids",
    "C3": "lifecycle/device-ca-rolled-server-stale", "A1": "tls/device-ca-not-a-ca", "A3": "tls/path-length-too-small",
}  # fmt: skip
_BETWEEN = re.compile(
    r" <- |; |\||-0x\w+ flags=0x\w+ |\[(?=[A-Z])|\]| \(possibly because of |\(encountered processing .*|\(_ssl\.c.*"
)
_NAME = re.compile(r"[\w*-]+(\.[\w*-]+)+\.?|\b\d{3,}\b|\d{4}-\d\d-\d\dt[\d:]+z?")
_CODE = re.compile(r"\b(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+){2,}|(?:[A-Z][a-z]+){2,}|0x[0-9A-Fa-f]{4})\b|(?<!\S)-\d{3}(?=\s)")
_LIST = re.compile(r"DNS:#(, DNS:#)*")
_EMPTY_CODE = re.compile(r"(Exception|Error)$|^(SslPolicyErrors|RemoteCertificateChainErrors)$|^ERR_|^BR_ERR_IO$")
_WORD = re.compile(r"[\w#]+")


@dataclass(frozen=True)
class Explanation:
    """One cause of a message: who says it then, what tells it from other causes, and how to see it."""

    rule: str
    cause: str
    fix: str
    tell: str
    stacks: tuple[str, ...]
    reproduce: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation for a program."""
        return asdict(self)


class _Answer(NamedTuple):
    row: str
    stack: str
    rule: str


def why(text: str) -> list[Explanation]:
    """Return what can be behind an error message, the most frequent cause in the field first; empty when unknown."""
    answers = _measured(text[-_MOST:])
    by_rule: dict[str, list[_Answer]] = {}
    for answer in answers:
        by_rule.setdefault(answer.rule, []).append(answer)
    usual = {rule for rule, found in by_rule.items() if len(_rows(found)) > _USUAL * len(_rows(answers))}
    ranked = sorted(by_rule, key=lambda rule: (rule not in usual, _ORDER[rule]))
    explained = _with_missing_root([_of_measured(rule, by_rule[rule]) for rule in ranked])
    explained += [_of_saying(one) for one in said(text[-_MOST:]) if one.rule not in by_rule]
    return explained or [_of_saying(one) for one in said_around(text[-_MOST:])]


def _of_measured(rule: str, answers: list[_Answer]) -> Explanation:
    stacks = sorted({one.stack for one in answers}, key=_PLACES.__getitem__)
    rows = sorted(_rows(answers), key=lambda row: (len(RECIPES[row].defects), len(row), row))
    commands = [f"leafgate matrix {rows[0]}", *_started(RECIPES[rows[0]])]
    if rule in _SCENARIOS:
        commands.insert(0, f"leafgate run {_SCENARIOS[rule]}")
    return Explanation(rule, *CAUSES[rule], tuple(_TITLES[one] for one in stacks), tuple(commands))


def _started(recipe: Recipe) -> Iterator[str]:
    """The command that starts a gateway with that chain, where its options can say it."""
    if recipe.defects and (recipe.device_ca, recipe.root, recipe.intermediates) == (None, None, 1):
        generation = "" if recipe.generation == "documented" else f" --generation {recipe.generation}"
        yield f"leafgate up{generation}" + "".join(f" --defect {one}" for one in recipe.defects)


def _of_saying(one: Saying) -> Explanation:
    return Explanation(one.rule, one.cause, one.fix, one.tell, one.who, one.see)


def _with_missing_root(explained: list[Explanation]) -> list[Explanation]:
    """Add T1 before C1: to who verifies, a root that it does not have is a missing issuer like any other.

    The measured chains with a root that nobody trusts all sent it; gateways of today do not.
    """
    places = {one.rule: place for place, one in enumerate(explained)}
    if "C1" not in places or "T1" in places:
        return explained
    stacks = explained[places["C1"]].stacks
    root = Explanation("T1", *CAUSES["T1"], stacks, (f"leafgate run {_SCENARIOS['T1']}",))
    return [*explained[: places["C1"]], root, *explained[places["C1"] :]]


def _rows(answers: Iterable[_Answer]) -> list[str]:
    return list(dict.fromkeys(one.row for one in answers))


# -- which measured messages are in a text ----------------------------------------------------------------------------


def _measured(text: str) -> list[_Answer]:
    """The measured answers whose words are in the text, or, when only part of a message was pasted, the reverse."""
    asked = _plain(text)
    spans = [(found.span(), one) for one in _table() for found in [_pattern(one).search(asked)] if found]
    longest = [one for span, one in spans if not any(_inside(span, other) for other, _ in spans)]
    if not longest and len(asked.strip()) >= _LEAST_LETTERS:
        longest = [one for one in _table() if asked.strip() in one]
    causes = {one: {answer.rule for answer in _table()[one]} for one in longest}
    telling = [one for one in longest if not any(causes[other] < causes[one] for other in longest)]
    return list(dict.fromkeys(answer for one in telling for answer in _table()[one]))


def _inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


@cache
def _table() -> dict[str, tuple[_Answer, ...]]:
    """Every telling part of a measured message, with who said it about what."""
    table: dict[str, list[_Answer]] = {}
    for name, row in outcomes().items():
        for stack, refusal in row.refused.items():
            rule = why_refused(name, stack)
            for part in dict.fromkeys(_parts(refusal.message, row)) if rule else ():
                table.setdefault(part, []).append(_Answer(name, stack, rule or ""))
    return {part: tuple(answers) for part, answers in table.items()}


def _parts(message: str, row: Outcome) -> Iterator[str]:
    """What people paste of a message: all of it, a piece of it, what follows a colon, or a code alone."""
    if len(message) == _CUT:
        message = message.rpartition(" ")[0]
    for code in _CODE.findall(message):
        if not _EMPTY_CODE.search(code):
            yield _plain(code)
    for name in sorted({row.asked, row.hostname, "edgehub"}, key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "#", message)
    message = _LIST.sub("#", _NAME.sub("#", message))
    pieces = [piece for piece in _BETWEEN.split(message) if piece]
    for whole in (message, *pieces):
        rest = re.sub(r"^[A-Z][A-Z_0-9]+ (?=\S+ )", "", whole)  # Node.js: CERT_HAS_EXPIRED certificate has expired
        for start in (0, *(found.end() for found in re.finditer(r": ", rest))):
            part = _plain(rest[start:]).strip(" #")
            words = [word for word in part.split() if word != "#"]
            if len(words) >= _LEAST_WORDS and len(part) >= _LEAST_LETTERS:
                yield f" {part} "


@cache
def _pattern(part: str) -> re.Pattern[str]:
    """The part as a pattern, with up to a dozen words for what changes; a run of changing words is one."""
    words = re.sub(r"#( #)+", "#", part.strip()).split()
    return re.compile(
        "".join(r"(?: \S+){1,12}?" if word == "#" else " " + re.escape(word) for word in words) + r"(?= )"
    )


def _plain(text: str) -> str:
    """Lower case, words and nothing else; a minus stays before the number of an error."""
    words = _WORD.findall(re.sub(r"(?<!\S)-(?=\d(?!x))", "minus", text.lower().replace("_", " ")))
    return f" {' '.join(words)} "
