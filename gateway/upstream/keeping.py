"""How what the hub knows outlives it, and how it writes moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

#: keeps a JSON document of some kind under a key, until another one, or None, takes its place
Keep = Callable[[str, str, Mapping[str, Any] | None], None]


def keep_nothing(_kind: str, _key: str, _document: Mapping[str, Any] | None) -> None:
    """For a hub that is forgotten when it ends."""


def utc(moment: float) -> str:
    """A moment (seconds since 1970) as the REST API writes it."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
