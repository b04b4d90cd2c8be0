"""The text report: one line per scenario; for a failure what happened, expected and got, why, and the fix."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from scenarios.results import Result, Run
from scenarios.tlsstacks import measured_name
from scenarios.words import printable

MARKS = {"passed": ("✓", "32"), "failed": ("✗", "31"), "skipped": ("-", "33"), "error": ("!", "31")}
LABEL = 6  # width of "why", "fix" and the like
NARROWEST = 60


@dataclass(frozen=True)
class Style:
    """How to write to a place: with colour or without, and how wide."""

    colour: bool
    width: int = 100

    @classmethod
    def of(cls, stream: TextIO) -> Style:
        """Colour for a terminal whose user has not said NO_COLOR (https://no-color.org)."""
        terminal = stream.isatty()
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = os.get_terminal_size(stream.fileno()).columns if terminal else 100
        return cls(colour, max(NARROWEST, min(width or 80, 120)))

    def paint(self, text: str, code: str) -> str:
        """The text in that colour (an SGR parameter of ECMA-48)."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def headline(result: Result, style: Style) -> str:
    """The scenario's one line."""
    mark, code = MARKS[result.status]
    time = f"{result.duration:.2f} s"
    gap = max(2, style.width - 2 - len(result.name) - len(time))
    return f"{style.paint(mark, code)} {style.paint(result.name, '1')}{' ' * gap}{style.paint(time, '2')}"


def detail(result: Result, style: Style) -> list[str]:
    """Everything below the headline."""
    lines = list(timeline(result, style))
    if result.status == "failed":
        lines += _wrapped("", f"expected {result.expected}, got {result.got}", style, "31")
    elif result.reason:
        lines += _wrapped("", result.reason, style)
    notes = (("other", measured_stacks(result)), ("why", result.why), ("fix", result.fix), ("era", result.era))
    for label, text in (*notes, ("twin", result.counterpart)):
        lines += _wrapped(label, text, style)
    return lines


def measured_stacks(result: Result) -> str:
    """What is known of stacks that were not played; those that were are in the timeline."""
    groups: dict[str, list[str]] = {}
    for note in result.stacks:
        if note.source == "measured":
            groups.setdefault(note.got, []).append(measured_name(note.stack))
    said = "; ".join(f"{', '.join(names)}: {got}" for got, names in groups.items())
    return f"{said} (measured earlier, not played here)" if said else ""


def timeline(result: Result, style: Style) -> Iterator[str]:
    """One line per thing that happened: when, who, what, and the remark at the right."""
    who = max([8, *(len(row.who) for row in result.rows)])
    for row in result.rows:
        head = f"   {row.at:5.3f}  "
        room = style.width - len(head) - who - 2
        first, *rest = textwrap.wrap(printable(row.text), room) or [""]
        note = f"({row.note})" if row.note else ""
        if note and len((rest or [first])[-1]) + len(note) + 2 > room:
            rest = [*rest, *textwrap.wrap(note, room)]
            note = ""
        lines = [first, *rest]
        lines[-1] += (note.rjust(room - len(lines[-1])) if style.width > NARROWEST else f"  {note}") if note else ""
        yield style.paint(head, "2") + style.paint(row.who.ljust(who), "36") + "  " + lines[0]
        yield from (" " * (len(head) + who + 2) + line for line in lines[1:])


def _wrapped(label: str, text: str, style: Style, code: str = "") -> list[str]:
    if not text:
        return []
    indent = " " * (3 + (LABEL if label else 0))
    lines = textwrap.wrap(
        printable(" ".join(text.split())), style.width - len(indent), break_long_words=False, break_on_hyphens=False
    )
    painted = [style.paint(line, code) if code else line for line in lines]
    head = f"   {style.paint(label.ljust(LABEL), '1')}" if label else indent
    return [head + painted[0], *(indent + line for line in painted[1:])]


def render(run: Run, style: Style, *, verbose: bool = False) -> Iterator[str]:
    """The whole run; passing scenarios have their detail only when `verbose`."""
    for result in run.results:
        yield from scenario(result, style, verbose=verbose)
    yield summary(run)


def scenario(result: Result, style: Style, *, verbose: bool) -> Iterator[str]:
    """One scenario."""
    yield headline(result, style)
    if verbose:
        yield from _wrapped("", result.claim, style, "3")
    if verbose or result.status != "passed":
        yield from detail(result, style)


def summary(run: Run) -> str:
    """The last line: counts, time and the seed that repeats the run."""
    counts = [f"{run.count(status)} {status}" for status in MARKS if run.count(status)]  # type: ignore[arg-type]
    return f"{', '.join(counts) or 'nothing played'} in {run.duration:.2f} s (seed {run.seed})"
