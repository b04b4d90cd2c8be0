"""The catalogue of faults as `leafgate faults` shows it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.faults import FAULTS, Fault
from gateway.faults.catalogue import LIMITS, parameters, summary


def as_text() -> str:
    """Every fault with its sentence and its parameters, then what faults can be limited to."""
    lines = [line for kind in FAULTS.values() for line in _lines(kind)]
    limits = {name: what for kind in FAULTS.values() for name, what in parameters(kind).items() if name in LIMITS}
    return "\n".join([*lines, "Limits:", *(f"  {name:<17} {limits[name]}" for name in LIMITS)]) + "\n"


def _lines(kind: type[Fault]) -> Iterator[str]:
    known = parameters(kind)
    yield f"{kind.name}: {summary(kind)}"
    for name, what in known.items():
        field = kind.model_fields[name]
        needed = " (needed)" if field.is_required() else f" [{field.default}]" if field.default is not None else ""
        if name not in LIMITS:
            yield f"  {name:<17} {what}{needed}"
    yield f"  {'limits':<17} {', '.join(name for name in known if name in LIMITS)}"
    yield ""
