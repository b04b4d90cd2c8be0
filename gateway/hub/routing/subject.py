"""A message as a condition sees it: application properties, system properties and the JSON in its body.

Rules: names of properties compare without regard to case; a body is looked into only when the message says that it is
JSON ($.ct=application/json) in a Unicode encoding ($.ce), and only when a condition asks.
Sources: Message.cs (`GetMessageQueryProvider`), JsonMessageQueryValueProvider.cs, Constants.cs and JsonPath.g4 of
Azure/iotedge; dates in a body are objects to it (Newtonsoft's DateParseHandling), so they have no value here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.hub.routing.values import MISSING, NULL, UNDEFINED, Value

_ENCODINGS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?\Z|/Date\(-?\d+([+-]\d{4})?\)/\Z")
_PART = re.compile(r"[^()<>@,;:\\\"/\[\]?={}.\t\n\r]+(?:\[(?P<index>[0-9]+)\])?")

Path = tuple[str | int, ...]


def parse_path(text: str) -> Path | None:
    """Read `a.b[2].c`; None when that is not the subset of JSONPath that routes know."""
    path: list[str | int] = []
    for part in text.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            return None
        name, _, _ = part.partition("[")
        path.append(name.strip())
        if match["index"] is not None:
            path.append(int(match["index"]))
    return tuple(path)


class Subject:
    """What conditions look at; made once for each message, whatever the number of routes."""

    __slots__ = ("_body", "_encoding", "_parsed", "_properties", "_system")

    def __init__(self, properties: Mapping[str, str | None], system: Mapping[str, str | None], body: bytes) -> None:
        self._properties = {name.lower(): value for name, value in properties.items()}
        self._system = {name.lower(): value for name, value in system.items()}
        kind = self._system.get("contenttype") or ""
        encoding = (self._system.get("contentencoding") or "").lower()
        self._encoding = _ENCODINGS.get(encoding) if kind.lower() == "application/json" else None
        self._body = body
        self._parsed: Any = None

    def look_at(self, body: bytes) -> None:
        """Be another message with the same properties."""
        self._body, self._parsed = body, None

    @property
    def has_json(self) -> bool:
        """Whether the message says that its body is JSON; without, nothing in it has a value."""
        return self._encoding is not None

    def property(self, name: str, otherwise: Value = UNDEFINED) -> Value:
        """Return an application property by its lower-case name."""
        return self._properties.get(name, otherwise)

    def system(self, name: str) -> Value:
        """Return a system property by its lower-case name."""
        return self._system.get(name, UNDEFINED)

    def body(self, path: Path) -> Value:
        """Return what stands at a path in the body: MISSING when nothing does, UNDEFINED for an object or a list."""
        found = self._at(path)
        if type(found) is float:
            return found
        return found if found is MISSING or found is UNDEFINED else _value(found)

    def property_or_body(self, name: str, path: Path) -> Value:
        """Return an application property, or without it what stands at a path in the body."""
        own = self._properties.get(name, UNDEFINED)
        return self.body(path) if own is UNDEFINED else own

    def includes(self, path: Path) -> Value:
        """Tell whether the change of a twin that is the body has something at a path."""
        found = self._at(path)
        return found if found is UNDEFINED else found is not MISSING

    def _at(self, path: Path) -> Any:
        found = self._parsed
        if found is None:
            found = self._parsed = UNDEFINED if self._encoding is None else read_json(self._body, self._encoding)
        if found is UNDEFINED:
            return UNDEFINED
        for step in path:
            if not ((type(found) is dict and step in found) or _has(found, step)):
                return MISSING
            found = found[step]
        return found


def read_json(body: bytes, encoding: str) -> Any:
    """Read a JSON object; UNDEFINED for anything else."""
    try:
        parsed = orjson.loads(body) if encoding == "utf-8" else json.loads(body.decode(encoding))
    except ValueError:
        try:  # with a byte order mark, NaN, half of a surrogate pair, a thousand brackets
            parsed = json.loads(body.decode(encoding).removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            return UNDEFINED
    return parsed if isinstance(parsed, dict) else UNDEFINED


def _has(found: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(found, dict) and step in found
    return isinstance(found, list) and step < len(found)


def _value(found: Any) -> Value:
    if found is None:
        return NULL
    if isinstance(found, bool):
        return found
    if isinstance(found, int | float):
        return float(found)
    return found if isinstance(found, str) and not _DATE.match(found) else UNDEFINED
