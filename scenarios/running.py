"""`leafgate run`: plays scenarios and writes the reports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from scenarios.catalogue import find, load_all
from scenarios.chainplan import new_seed
from scenarios.errors import CannotPlayError, ScenarioFileError
from scenarios.reports import json, junit, text
from scenarios.results import Result
from scenarios.runner import play_all


def run_files(
    what: Sequence[str],
    *,
    jobs: int,
    json_file: Path | None,
    junit_file: Path | None,
    seed: int | None,
    verbose: bool,
) -> int:
    """Play what is named; returns the exit code."""
    try:
        loaded = load_all(find(what))
    except ScenarioFileError as wrong:
        sys.stderr.write(wrong.message + "\n")
        return wrong.exit_code
    # A report on stdout is for a program; what people read goes beside it.
    screen = sys.stderr if str(json_file) == "-" else sys.stdout
    style = text.Style.of(screen)

    def show(result: Result) -> None:
        screen.write("\n".join(text.scenario(result, style, verbose=verbose)) + "\n")
        screen.flush()

    done = asyncio.run(play_all(loaded, seed=new_seed() if seed is None else seed, jobs=jobs, each=show))
    screen.write(text.summary(done) + "\n")
    for path, render in ((json_file, json.render), (junit_file, junit.render)):
        if path is not None:
            _write(path, render(done))
    return done.exit_code


def _write(path: Path, report: str) -> None:
    if str(path) == "-":
        sys.stdout.write(report)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report, encoding="utf-8")
    except OSError as wrong:
        hint = "choose another file for the report"
        raise CannotPlayError(f"cannot write {path}: {(wrong.strerror or '').lower()}", hint) from None
