"""What an expression of a query can come to, and how such values compare.

Values are those of JSON, and UNDEFINED for what is not there. Rules: only primitive values compare; values of different
types are unequal and have no order; AND, OR and NOT know three values.
Source: "IoT Hub query language for device and module twins, jobs, and message routing" (expressions and conditions,
limitations); what values of different types come to is not documented.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any


class _Nothing(Enum):
    UNDEFINED = "undefined"


UNDEFINED = _Nothing.UNDEFINED
Value = Any  # a JSON value or UNDEFINED
Path = tuple[str, ...]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def at(document: Mapping[str, Any], path: Path) -> Value:
    """What stands at a path of a document."""
    found: Any = document
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return UNDEFINED
        found = found[name]
    return found


def is_number(value: Value) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_primitive(value: Value) -> bool:
    """Whether a value is a string, a number, true, false or null."""
    return value is None or isinstance(value, str | int | float)


def compare(symbol: str) -> Callable[[Value, Value], Value]:
    """The comparison that a symbol stands for; it may come to UNDEFINED."""
    if symbol in _ORDER:
        less_or_so = _ORDER[symbol]
        return lambda one, other: less_or_so(one, other) if _ordered(one, other) else UNDEFINED
    wanted = symbol == "="

    def equal(one: Value, other: Value) -> Value:
        if not (is_primitive(one) and is_primitive(other)):
            return UNDEFINED
        return same(one, other) is wanted

    return equal


def same(one: Value, other: Value) -> bool:
    """Whether two primitive values are equal: 1 and 1.0 are, 1 and true are not."""
    if is_number(one) and is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _ordered(one: Value, other: Value) -> bool:
    return (is_number(one) and is_number(other)) or (isinstance(one, str) and isinstance(other, str))


def among(value: Value, constants: Sequence[Value]) -> Value:
    """Whether a value is one of several."""
    if not is_primitive(value):
        return UNDEFINED
    return any(same(value, one) for one in constants)


def negate(value: Value) -> Value:
    """Not of three values."""
    return UNDEFINED if value is UNDEFINED else value is not True


def both(one: Value, other: Value) -> Value:
    """And of three values."""
    if one is True and other is True:
        return True
    decided = (one is not True and one is not UNDEFINED) or (other is not True and other is not UNDEFINED)
    return False if decided else UNDEFINED


def either(one: Value, other: Value) -> Value:
    """Or of three values."""
    if one is True or other is True:
        return True
    return UNDEFINED if one is UNDEFINED or other is UNDEFINED else False


def calculate(symbol: str) -> Callable[[Value, Value], Value]:
    """The calculation that a symbol stands for; UNDEFINED unless both are numbers and the result is one."""
    run = _CALCULATE[symbol]

    def calculated(one: Value, other: Value) -> Value:
        if not (is_number(one) and is_number(other)):
            return UNDEFINED
        try:
            result = run(one, other)
        except (ZeroDivisionError, OverflowError, ValueError):
            return UNDEFINED
        return result if math.isfinite(result) else UNDEFINED

    return calculated


_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
}
