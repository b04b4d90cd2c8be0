"""Twin documents: reading, checking, merging and comparing them.

Rule: documents are plain JSON objects without metadata; no function changes one that it was given, and results may
share parts with it. What the product's validator objects to is 400, what fails before or inside of it is 500.
Sources: ReportedPropertiesValidator.cs, DeviceMessageHandler.cs (HandleTwinOperationException) and JsonEx.cs
(edge-util) of Azure/iotedge; how bodies are read follows from Newtonsoft.Json, which the product reads them with.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_MOST_DEPTH = 10
_MOST_NAME_BYTES = 1_024
_MOST_VALUE_BYTES = 4_096
MOST_BYTES = 32 * 1_024
_LOWEST, _HIGHEST = -(1 << 52), (1 << 52) - 1
_LONG_LOWEST, _LONG_HIGHEST = -(1 << 63), (1 << 63) - 1
_READER_DEPTH = 64  # MaxDepth of Newtonsoft.Json 13
# what char.IsControl and char.IsWhiteSpace of .NET find, and the three that the service keeps for itself
_FORBIDDEN = re.compile("[\x00-\x20\x7f-\xa0.$#\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")

BAD_REQUEST = 400_000
ARGUMENT_INVALID = 400_004
DESERIALIZATION_ERROR = 400_012
SERVER_ERROR = 500_001


class TwinError(ValueError):
    """A change that is refused: `status` as the device is told, `code` as IoT Hub numbers it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


# -- reading ---------------------------------------------------------------------------------------------------------


def read_patch(body: bytes, *, strict: bool = False) -> dict[str, Any]:
    """Read a change of reported properties; raises TwinError.

    As the product does it: a name given twice has its last value, bytes that are no UTF-8 become U+FFFD, an empty body
    is refused with 400, what is no JSON with 500. `strict` refuses all of that with 400, as IoT Hub does.
    """
    if not body or body.isspace():
        raise TwinError(400, BAD_REQUEST, "there is no document")
    try:
        text = body.decode("utf-8", "strict" if strict else "replace")
        patch = (_STRICT if strict else _LENIENT).decode(text)
        if body.count(b"{") + body.count(b"[") > _READER_DEPTH and _is_deeper(patch, _READER_DEPTH):
            raise RecursionError
    except RecursionError:
        raise _unreadable(strict, "it is nested too deeply") from None
    except ValueError as wrong:
        raise _unreadable(strict, str(wrong)) from None
    if not isinstance(patch, dict):
        raise TwinError(400, BAD_REQUEST, "the document is no JSON object")
    if b"\\u" in body:
        return _without_half_characters(patch)
    return patch


def _unreadable(strict: bool, reason: str) -> TwinError:
    message = f"the document cannot be read: {reason}"
    return TwinError(400, DESERIALIZATION_ERROR, message) if strict else TwinError(500, SERVER_ERROR, message)


def _is_deeper(value: object, levels: int) -> bool:
    """Whether containers are nested deeper than `levels`; level by level, since the depth is the sender's choice."""
    level = [value]
    for _ in range(levels):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _without_half_characters(patch: dict[str, Any]) -> dict[str, Any]:
    """Replace what an escape like \\ud800 leaves behind: it has no UTF-8, and .NET would write U+FFFD."""
    text = compact(patch)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    mended: dict[str, Any] = patch if whole == text else json.loads(whole)
    return mended


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


# Newtonsoft takes control characters inside of strings
_LENIENT = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number, strict=False)
_STRICT = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number, object_pairs_hook=_once)
#: the shortest text of a document, whose UTF-8 bytes the limits count
compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


# -- checking --------------------------------------------------------------------------------------------------------


def validate_reported(patch: Mapping[str, Any]) -> None:
    """Check a change of reported properties; raises TwinError with what the product objects to.

    Objects and arrays nest ten levels below the root; names have 1,024 bytes at most and none of `.`, `$`, `#`, blanks
    and control characters; values have 4,096 bytes, the whole 32 KB; integers have 53 bits; arrays hold no null.
    """
    check_properties(patch)
    size = len(compact(patch).encode("utf-8", "replace"))
    if size > MOST_BYTES:
        raise _invalid(f"Twin properties size {size} exceeds maximum {MOST_BYTES}")


def check_properties(properties: Mapping[str, Any]) -> None:
    """Check all of that but the size; raises TwinError."""
    _check_object(properties, 0, in_array=False)


def _check_object(properties: Mapping[str, Any], depth: int, *, in_array: bool) -> None:
    if depth > _MOST_DEPTH:
        raise _too_deep()
    for name, value in properties.items():
        if len(name) > _MOST_NAME_BYTES // 4 or _FORBIDDEN.search(name):
            _check_name(name)
        if type(value) is str:
            if len(value) > _MOST_VALUE_BYTES // 4:
                _check_length(name, value)
        elif type(value) is dict:
            _check_object(value, depth + 1, in_array=in_array)
        elif type(value) is list:
            _check_array(value, depth + 1)
        else:
            _check_scalar(name, value, in_array=in_array)


def _check_array(items: list[Any], depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise _too_deep()
    for item in items:
        if item is None:
            raise _invalid("Arrays cannot contain 'null' as value")
        if type(item) is list:
            _check_array(item, depth + 1)
        elif type(item) is dict:
            _check_object(item, depth + 1, in_array=True)
        elif type(item) is str:
            _check_length("", item)
        else:
            _check_scalar("", item, in_array=True)


def _check_name(name: str) -> None:
    if len(name.encode("utf-8", "replace")) > _MOST_NAME_BYTES:
        raise _invalid(f"Length of property name {_shown(name[:10])}.. exceeds maximum length of {_MOST_NAME_BYTES}")
    if found := _FORBIDDEN.search(name):
        raise _invalid(f"Property name {_shown(name)} contains invalid character '{_shown(found[0])}'")


def _check_length(name: str, value: str) -> None:
    size = len(value.encode("utf-8", "replace"))
    if size > _MOST_VALUE_BYTES:
        said = f"has length {size} that exceeds maximum length of {_MOST_VALUE_BYTES}"
        raise _invalid(f"Value associated with property name {_shown(name)} {said}")


def _check_scalar(name: str, value: object, *, in_array: bool) -> None:
    """Check a number, a boolean or null."""
    if value is None:
        if in_array:
            raise _invalid(f"Property {_shown(name)} of an object in an array cannot be 'null'")
    elif type(value) is int and not _LOWEST <= value <= _HIGHEST:
        if not _LONG_LOWEST <= value <= _LONG_HIGHEST:  # the product's cast to a 64-bit integer fails
            raise TwinError(500, SERVER_ERROR, f"Property {_shown(name)} is no 64-bit integer")
        valid = f"Valid values are between {_LOWEST} and {_HIGHEST}"
        raise _invalid(f"Property {_shown(name)} has an out of bound value. {valid}")


def _shown(text: str) -> str:
    """What a client sent, fit for a log line."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _invalid(message: str) -> TwinError:
    return TwinError(400, ARGUMENT_INVALID, message)


def _too_deep() -> TwinError:
    return _invalid(f"Nested depth of twin property exceeds {_MOST_DEPTH}")


# -- merging and comparing -------------------------------------------------------------------------------------------


def merge(document: Mapping[str, Any], patch: Mapping[str, Any], *, null_deletes: bool = True) -> dict[str, Any]:
    """The document after a change: objects merge, anything else replaces.

    A null deletes, or stays to be passed on (`null_deletes=False`). As in the product, an object that meets no object
    is taken as it is, with the nulls inside of it.
    """
    merged = dict(document)
    for name, value in patch.items():
        if value is None and null_deletes:
            merged.pop(name, None)
            continue
        before = merged.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[name] = merge(before, value, null_deletes=null_deletes)
        else:
            merged[name] = value
    return merged


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The change that makes `new` of `old`; nulls stand for what is gone. Types count: 1 and 1.0 differ."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            patch[name] = value
            continue
        before = old[name]
        if before is value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            if nested := diff(before, value):
                patch[name] = nested
        elif not _same(before, value):
            patch[name] = value
    return patch


def _same(one: Any, other: Any) -> bool:
    """JSON equality: for Python 1, 1.0 and true are equal."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return type(one) is type(other) and bool(one == other)


# -- errors of IoT Hub -----------------------------------------------------------------------------------------------


def strict_error_body(error: TwinError, now: float) -> bytes:
    """What IoT Hub puts into the answer of a refused twin request, as JSON; `now` in seconds since 1970 UTC.

    Edge Hub's own answer to it has no body.
    """
    moment = datetime.fromtimestamp(now, UTC)
    said = {
        "errorCode": error.code,
        "trackingId": f"{uuid.uuid4().hex.upper()}-G:0-TimeStamp:{moment:%m/%d/%Y %H:%M:%S}",
        "message": error.message,
        "timestampUtc": f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z",
    }
    return json.dumps(said).encode()
