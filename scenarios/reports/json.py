"""The JSON report: `{"version": 1, "seed": N, "environment": {...}, "results": [...]}`.

Rule: a change is a new field or a new version, never a new meaning.
"""

from __future__ import annotations

import json
from typing import Any

from scenarios.results import Result, Run, environment

VERSION = 1


def render(run: Run) -> str:
    """The run as JSON text."""
    document = {
        "version": VERSION,
        "seed": run.seed,
        "environment": environment(),
        "duration_s": round(run.duration, 3),
        "results": [_result(result) for result in run.results],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _result(result: Result) -> dict[str, Any]:
    return {
        "file": result.file,
        "name": result.name,
        "claim": result.claim,
        "status": result.status,
        "reason": result.reason or None,
        "duration_s": round(result.duration, 3),
        "step": result.step or None,
        "expected": result.expected or None,
        "got": result.got or None,
        "why": result.why or None,
        "fix": result.fix or None,
        "era": result.era or None,
        "counterpart": result.counterpart or None,
        "timeline": [row.as_json() for row in result.rows],
        "stacks": [note.as_json() for note in result.stacks],
    }
