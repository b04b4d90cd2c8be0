"""What a condition can come to, and how two such values compare.

Values at run time are float, str, bool, NULL, MISSING and UNDEFINED; a number that is not one (NaN) counts as
undefined, and None is a property that is there without a value. `Kind` is what is known of an operand before any
message has come: the product checks operands when it compiles a route.
Sources: Bool.cs, Null.cs, QueryValue.cs, QueryValueType.cs and ComparisonOperators.cs of Azure/iotedge.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any


class Kind(Enum):
    """The static type of an operand; ANY is a value from a message's body."""

    NUMBER = "number"
    STRING = "string"
    BOOL = "bool"
    NULL = "null"
    UNDEFINED = "undefined"
    ANY = "body value"


class _Word(Enum):
    NULL = "null"
    MISSING = "missing"
    UNDEFINED = "undefined"


NULL = _Word.NULL
MISSING = _Word.MISSING  # a path that leads nowhere in a body counts as null, but for is_null
UNDEFINED = _Word.UNDEFINED
Value = Any  # float | str | bool | None | NULL | MISSING | UNDEFINED

#: what may stand where the other is asked for: a value from the body fits every type but `undefined`
FITS_ANY = frozenset({Kind.NUMBER, Kind.STRING, Kind.BOOL, Kind.NULL})

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RANK = {bool: 1, float: 2, str: 3, _Word: 4}  # QueryValueType, by which values of different types compare


def fits(wanted: Kind, given: Kind) -> bool:
    """Tell whether an operand of kind `given` may stand where `wanted` is asked for."""
    if wanted is given:
        return True
    return (given is Kind.ANY and wanted in FITS_ANY) or (wanted is Kind.ANY and given in FITS_ANY)


def is_defined(value: Value) -> bool:
    """Tell whether there is a value; a number that is not one is none."""
    return value is not UNDEFINED and value == value  # noqa: PLR0124 - NaN


def compare_same(symbol: str) -> Callable[[Value, Value], Value]:
    """Compare two values of one kind; undefined as soon as one of them is missing."""
    compare = _COMPARE[symbol]

    def run(left: Value, right: Value) -> Value:
        if left is UNDEFINED or right is UNDEFINED or left is None or right is None:
            return UNDEFINED
        if left is NULL:
            return compare(0, 0)
        if left != left or right != right:  # noqa: PLR0124 - NaN
            return UNDEFINED
        return compare(left, right)

    return run


def compare_any(symbol: str) -> Callable[[Value, Value], Value]:
    """Compare values that may be of different types: a string is greater than a number, null greater than both."""
    compare = _COMPARE[symbol]
    same = compare_same(symbol)

    def run(left: Value, right: Value) -> Value:
        if type(left) is float and type(right) is float and left == left and right == right:  # noqa: PLR0124 - NaN
            return compare(left, right)
        if not is_defined(left) or not is_defined(right):
            return UNDEFINED
        of_left, of_right = _rank(left), _rank(right)
        if of_left != of_right or of_left == _RANK[_Word]:
            return compare(of_left, of_right)
        return same(left, right)

    return run


def _rank(value: Value) -> int:
    return _RANK.get(type(value), _RANK[str])  # a property without a value is a string


def both(left: Value, right: Value) -> Value:
    """And of three values."""
    if left is False or right is False:
        return False
    return True if left is True and right is True else UNDEFINED


def either(left: Value, right: Value) -> Value:
    """Or of three values."""
    if left is True or right is True:
        return True
    return UNDEFINED if left is UNDEFINED or right is UNDEFINED else False
