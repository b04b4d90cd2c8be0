"""The built-in functions of a condition: name -> the argument lists it takes, the first that fits is used.

Sources: edge-hub/core/src/Microsoft.Azure.Devices.Routing.Core/query/builtins of Azure/iotedge, one class per function.
`is_null` of a value in the body is true for everything that is there, null or not, as IsNull.cs has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.hub.routing.values import MISSING, UNDEFINED, Kind, Value, fits, is_defined

_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9,]*)?(?:\.[0-9]*)?(?:[Ee][+-]?[0-9]+)?")
_WORDS = {"nan": math.nan, "infinity": math.inf, "+infinity": math.inf, "-infinity": -math.inf}


@dataclass(frozen=True)
class Signature:
    """One argument list of a function. `more` repeats the last kind; no kinds (None) means one argument of any."""

    takes: tuple[Kind, ...] | None
    gives: Kind
    run: Callable[..., Value]
    from_body: bool = True  # a value from the body fits
    more: bool = False

    def accepts(self, given: Sequence[Kind]) -> bool:
        """Tell whether these arguments fit."""
        if self.takes is None:
            return len(given) == 1
        wanted = self.takes
        if self.more and len(given) >= len(wanted):
            wanted = (*wanted, *wanted[-1:] * (len(given) - len(wanted)))
        if len(given) != len(wanted):
            return False
        return all(
            one is other or (self.from_body and fits(one, other)) for one, other in zip(wanted, given, strict=True)
        )


def _numeric(run: Callable[..., float]) -> Callable[..., Value]:
    def guarded(*numbers: Value) -> Value:
        if not all(isinstance(one, float) and one == one for one in numbers):  # noqa: PLR0124 - NaN
            return UNDEFINED
        try:
            return float(run(*numbers))
        except OverflowError:
            return math.inf
        except ValueError:
            return UNDEFINED

    return guarded


def _textual(run: Callable[..., Value]) -> Callable[..., Value]:
    def guarded(*texts: Value) -> Value:
        return run(*texts) if all(isinstance(one, str) for one in texts) else UNDEFINED

    return guarded


def _rounded(run: Callable[[float], float]) -> Callable[[float], float]:
    return lambda number: number if math.isinf(number) else run(number)


def as_number(text: Value) -> Value:
    """Read a number as double.TryParse does (NumberStyles.Any, invariant culture), but for brackets and currencies."""
    if isinstance(text, float):
        return text
    if not isinstance(text, str):
        return UNDEFINED
    trimmed = text.strip()
    if trimmed.lower() in _WORDS:
        return _WORDS[trimmed.lower()]
    if not any(one.isdigit() for one in trimmed) or not _NUMBER.fullmatch(trimmed):
        return UNDEFINED
    return float(trimmed.replace(",", ""))


def _concat(*parts: Value) -> Value:
    if any(one is not None and not isinstance(one, str) for one in parts):
        return UNDEFINED
    return "".join(one or "" for one in parts)


def _substring(text: Value, start: Value, length: Value = None) -> Value:
    numbers = [start] if length is None else [start, length]
    if not isinstance(text, str) or not all(isinstance(one, float) and math.isfinite(one) for one in numbers):
        return UNDEFINED
    first = int(start)
    last = len(text) if length is None else first + int(length)
    return text[first:last] if 0 <= first <= last <= len(text) else UNDEFINED


def _is_there(value: Value) -> Value:
    return UNDEFINED if value is UNDEFINED else value is not MISSING


def _sign(number: float) -> float:
    return float((number > 0) - (number < 0))


_N, _S = Kind.NUMBER, Kind.STRING


def _one_number(run: Callable[[float], float]) -> tuple[Signature, ...]:
    return (Signature((_N,), _N, _numeric(run)),)


def _two_texts(gives: Kind, run: Callable[[str, str], Value]) -> tuple[Signature, ...]:
    return (Signature((_S, _S), gives, _textual(run)),)


FUNCTIONS: dict[str, tuple[Signature, ...]] = {
    "abs": _one_number(abs),
    "exp": _one_number(math.exp),
    "square": _one_number(lambda number: number * number),
    "ceiling": _one_number(_rounded(math.ceil)),
    "floor": _one_number(_rounded(math.floor)),
    "sign": _one_number(_sign),
    "sqrt": _one_number(math.sqrt),
    "power": (Signature((_N, _N), _N, _numeric(math.pow)),),
    "as_number": (Signature((_S,), _N, as_number), Signature((_N,), _N, as_number)),
    "is_bool": (
        Signature((Kind.BOOL,), Kind.BOOL, lambda value: isinstance(value, bool)),
        Signature(None, Kind.BOOL, lambda value: False),
    ),
    "is_defined": (Signature(None, Kind.BOOL, is_defined),),
    "is_null": (
        Signature((_S,), Kind.BOOL, lambda value: value is None, from_body=False),
        Signature((Kind.ANY,), Kind.BOOL, _is_there, from_body=False),
        Signature((Kind.NULL,), Kind.BOOL, lambda value: True, from_body=False),
        Signature(None, Kind.BOOL, lambda value: False),
    ),
    "is_number": (
        Signature((_N,), Kind.BOOL, lambda value: isinstance(value, float) and math.isfinite(value)),
        Signature(None, Kind.BOOL, lambda value: False),
    ),
    "is_string": (
        Signature((_S,), Kind.BOOL, lambda value: isinstance(value, str)),
        Signature(None, Kind.BOOL, lambda value: False),
    ),
    "concat": (Signature((_S, _S), _S, _concat, more=True),),
    "length": (Signature((_S,), _N, _textual(lambda text: float(len(text)))),),
    "lower": (Signature((_S,), _S, _textual(str.lower)),),
    "upper": (Signature((_S,), _S, _textual(str.upper)),),
    "substring": (Signature((_S, _N), _S, _substring), Signature((_S, _N, _N), _S, _substring)),
    "index_of": _two_texts(_N, lambda text, part: float(text.find(part))),
    "starts_with": _two_texts(Kind.BOOL, lambda text, part: text.startswith(part)),
    "ends_with": _two_texts(Kind.BOOL, lambda text, part: text.endswith(part)),
    "contains": _two_texts(Kind.BOOL, lambda text, part: part in text),
}
