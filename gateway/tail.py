"""A message of the feed as one line for people.

Rule: nothing that a device has sent reaches the terminal as a control character.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_LONGEST = 2_000  # characters of a body; --json has all of it
_LONGEST_HEX = 64  # bytes
_ENCODINGS = {"utf-8", "utf-16", "utf-32", "us-ascii", "ascii"}

#: text and a colour of click (or "dim", "bold") -> text
Style = Callable[[str, str], str]


def plain(text: str, style: str) -> str:
    """No colours."""
    return text


def line(event: Mapping[str, Any], style: Style = plain) -> str:
    """The message: when, who, what, and the properties."""
    moment = datetime.fromisoformat(event["enqueuedTime"]).astimezone(UTC)
    who = event["deviceId"] if event["moduleId"] is None else f"{event['deviceId']}/{event['moduleId']}"
    parts = [
        style(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}", "dim"),
        style(f"{safe(who):<12}", "bold"),
    ]
    properties = dict(event["properties"])
    if event["source"] != "Telemetry":
        what = f"{event['source']} {properties.get('opType') or ''}".rstrip()
        parts.append(style(safe(what), "cyan"))
        properties = {}
    parts.append(body(event))
    if properties:
        parts.append(style(" ".join(_pair(*pair) for pair in properties.items()), "green"))
    return "  ".join(parts)


def body(event: Mapping[str, Any]) -> str:
    """The body as text where it is text, else as hexadecimal digits."""
    data = base64.b64decode(event["body"])
    wanted = str(event["systemProperties"].get("content-encoding", "utf-8")).lower()
    try:
        text = data.decode(wanted if wanted in _ENCODINGS else "utf-8")
    except UnicodeDecodeError:
        more = "..." if len(data) > _LONGEST_HEX else ""
        return f"{data[:_LONGEST_HEX].hex(' ')}{more} ({len(data)} bytes)"
    return safe(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(data)} bytes)")


def _pair(name: str, value: str | None) -> str:
    return safe(name) if value is None else f"{safe(name)}={safe(value)}"


def safe(text: str) -> str:
    """The text with everything that is not printable written as Python writes it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
