"""How an attempt to connect ended, as one JSON object and back: for `--json` and for a leaf in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leafsim.errors import (
    ConnackRefused,
    ConnectionStringError,
    Disconnected,
    LeafError,
    NotAcknowledged,
    TlsRefused,
    TrustError,
    Unreachable,
)

VERSION = 1

# The word for each error, and the fields that make it again.
_KINDS: dict[str, tuple[type[LeafError], tuple[str, ...]]] = {
    "tls-refused": (TlsRefused, ("detail", "verify_code", "verify_message", "alert", "eof")),
    "connack-refused": (ConnackRefused, ("code",)),
    "unreachable": (Unreachable, ("where", "cause", "phase", "detail", "hint")),
    "disconnected": (Disconnected, ("reason", "hint")),
    "not-acknowledged": (NotAcknowledged, ("what", "seconds")),
    "trust": (TrustError, ("path", "reason", "hint")),
    "connection-string": (ConnectionStringError, ("problem", "part", "detail", "hint")),
}


def as_json(error: LeafError | None, **facts: Any) -> dict[str, Any]:
    """Return the outcome: "connected" with `facts`, or what kept the leaf from it."""
    if error is None:
        return {"version": VERSION, "outcome": "connected", **facts}
    for kind, (shape, fields) in _KINDS.items():
        if isinstance(error, shape):
            values = {field: getattr(error, field) for field in fields}
            return {"version": VERSION, "outcome": kind, **values, "message": error.message, "hint": error.hint}
    return {"version": VERSION, "outcome": "error", "message": error.message, "hint": error.hint}


def from_json(found: dict[str, Any]) -> LeafError | None:
    """Return the error again, None for success."""
    kind = found["outcome"]
    if kind == "connected":
        return None
    if kind not in _KINDS:
        return LeafError(found["message"], found.get("hint"))
    shape, fields = _KINDS[kind]
    make: Callable[..., LeafError] = shape  # each class has its own arguments, named as its fields
    return make(**{field: found[field] for field in fields})
