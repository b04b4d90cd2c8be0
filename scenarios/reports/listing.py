"""The library as a list: themes, names and claims."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from scenarios.model import Loaded
from scenarios.reports.text import Style


def as_text(scenarios: Sequence[Loaded], style: Style) -> str:
    """Theme by theme, each name with its claim."""
    return "\n".join(_lines(scenarios, style)) + "\n"


def _lines(scenarios: Sequence[Loaded], style: Style) -> Iterator[str]:
    names = max((len(_short(loaded)) for loaded in scenarios), default=0)
    for theme, group in groupby(scenarios, key=lambda loaded: loaded.name.rpartition("/")[0]):
        yield style.paint(f"{theme}/", "1")
        for loaded in group:
            first, *rest = textwrap.wrap(loaded.claim, style.width - names - 4)
            yield f"  {style.paint(_short(loaded).ljust(names), '36')}  {first}"
            yield from (" " * (names + 4) + line for line in rest)
    yield ""
    yield f"{len(scenarios)} scenarios. Play one: leafgate run NAME -v. Serve it: leafgate up --scenario NAME."


def _short(loaded: Loaded) -> str:
    return loaded.name.rpartition("/")[2]


def to_json(scenarios: Sequence[Loaded]) -> str:
    """Every scenario with its claim as JSON."""
    found = [
        {
            "name": loaded.name,
            "theme": loaded.name.rpartition("/")[0],
            "claim": loaded.claim,
            "story": loaded.scenario.story,
            "counterpart": loaded.scenario.counterpart,
            "file": str(loaded.path),
        }
        for loaded in scenarios
    ]
    return json.dumps({"version": 1, "scenarios": found}, indent=1, ensure_ascii=False) + "\n"
