"""The table for people: one chain with every answer, or all chains as a grid."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from scenarios.matrix.table import Answer, Row
from scenarios.reports.text import Style

_MARKS = {True: ("✓", "32"), False: ("✗", "31"), None: ("·", "2")}
_HEADINGS = {
    "live": "asked just now",
    "measured": "measured earlier",
    "predicted": "as they answered to a measured chain with the same fault",
}
_DIFFERENT = ("≠", "33")


def one(row: Row, style: Style) -> Iterator[str]:
    """One chain: what each stack says, then who connects and who does not, and why."""
    yield f"{style.paint(row.name, '1')}  {row.summary}"
    yield ""
    width = max((len(answer.title) for answer in row.answers), default=0)
    for source, heading in _HEADINGS.items():
        if answers := [answer for answer in row.answers if answer.source == source]:
            yield style.paint(heading, "2")
            yield from (line for answer in answers for line in _answer(answer, width, style))
            yield ""
    yield from textwrap.wrap(_closing(row), style.width)
    for answer in row.differences:
        yield f"{style.paint('≠', '33')} {answer.title}: this is not what was measured for it"


def grid(rows: Sequence[Row], style: Style) -> Iterator[str]:
    """All chains against the stacks at hand."""
    names = [answer.stack for answer in max(rows, key=lambda row: len(row.answers)).answers if answer.source == "live"]
    left = max(len(row.name) for row in rows)
    for level in range(max(map(len, names))):
        yield " " * (left + 2) + " ".join(name[level] if level < len(name) else " " for name in names)
    for row in rows:
        answers = {answer.stack: answer for answer in row.answers if answer.source == "live"}
        cells = " ".join(_cell(answers.get(name), style) for name in names)
        yield f"{row.name:<{left}}  {cells}  {row.why}".rstrip()
    yield ""
    yield _count(rows)
    for row in rows:
        for answer in row.differences:
            said = "connects" if answer.ok else answer.message
            yield from textwrap.wrap(f"≠ {row.name}, {answer.title}: {said}", style.width, subsequent_indent="    ")


def _cell(answer: Answer | None, style: Style) -> str:
    if answer is None:
        return style.paint(*_MARKS[None])
    return style.paint(*(_DIFFERENT if answer.agrees is False else _MARKS[answer.ok]))


def _answer(answer: Answer, width: int, style: Style) -> Iterator[str]:
    mark, colour = _DIFFERENT if answer.agrees is False else _MARKS[answer.ok]
    code = f" ({answer.code})" if answer.code is not None else ""
    said = "connects" if answer.ok else f"refuses: {_brief(answer.message)}{code}"
    first, *rest = textwrap.wrap(said, max(40, style.width - width - 6)) or [""]
    yield f"  {style.paint(mark, colour)} {answer.title:<{width}}  {first}"
    yield from (" " * (width + 6) + line for line in rest)


def _brief(message: str) -> str:
    """What matters of a message: the innermost of Java's causes, the first of GnuTLS's sentences."""
    return message.rpartition(" <- ")[2].partition("; ***")[0]


def _closing(row: Row) -> str:
    connects = [_short(answer) for answer in row.answers if answer.ok]
    refuses = [_short(answer) for answer in row.answers if not answer.ok]
    if not row.answers:
        return f"No server starts with this chain. {row.why}"
    if not refuses:
        return f"This chain connects on all {len(connects)} stacks."
    if not connects:
        return f"This chain fails on all {len(refuses)} stacks. {row.why}"
    few, others = (connects, refuses) if len(connects) < len(refuses) else (refuses, connects)
    verb = "connects" if few is connects else "fails"
    return f"This chain {verb} on {', '.join(few)}, and not on the other {len(others)}. {row.why}"


def _short(answer: Answer) -> str:
    return answer.title.partition(" create_default_context")[0].partition(",")[0]


def _count(rows: Sequence[Row]) -> str:
    live = [answer for row in rows for answer in row.answers if answer.source == "live"]
    different = sum(answer.agrees is False for answer in live)
    return f"{len(rows)} chains, {len(live)} handshakes; {different or 'none'} of them other than measured"
