"""The faults by name, and making one of what a person has written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from gateway.faults.connack import Connack
from gateway.faults.delay import Delay
from gateway.faults.drop_after import DropAfter
from gateway.faults.fault import Fault, FaultError
from gateway.faults.half_close import HalfClose
from gateway.faults.refuse import Refuse
from gateway.faults.reset import Reset
from gateway.faults.shutdown import Shutdown
from gateway.faults.silent import Silent
from gateway.faults.slow import Slow
from gateway.faults.swallow_first_record import SwallowFirstRecord

#: in the order in which a connection would meet them
FAULTS: Mapping[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        Refuse, Silent, SwallowFirstRecord, Connack, Reset, HalfClose, Shutdown, DropAfter, Delay, Slow,
    )
}  # fmt: skip


def summary(kind: type[Fault]) -> str:
    """What a fault does, in one sentence."""
    return (kind.__doc__ or "").partition("\n")[0]


#: what faults can be limited to; other parameters are a fault's own
LIMITS = ("listener", "connections", "client_id", "since")


def parameters(kind: type[Fault]) -> Mapping[str, str]:
    """The parameters of a fault and what each is; its own first."""
    names = sorted(kind.model_fields, key=lambda name: name in LIMITS)
    return {name: kind.model_fields[name].description or "" for name in names}


def make(name: str, values: Mapping[str, Any]) -> Fault:
    """A fault with these parameters; FaultError says what is wrong with them and what there is."""
    kind = FAULTS.get(name)
    if kind is None:
        raise FaultError(f"fault {name!r} does not exist", _suggestion(name, FAULTS))
    try:
        return kind(**values)
    except ValidationError as wrong:
        raise _explain(kind, wrong) from None


def read(text: str) -> Fault:
    """A fault as `NAME[:key=value,...]`."""
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise FaultError(f"fault {name}: {pair!r} is no key=value", "write NAME:key=value,key=value")
        values[key.strip()] = value.strip()
    return make(name.strip(), values)


def _explain(kind: type[Fault], wrong: ValidationError) -> FaultError:
    error = max(wrong.errors(), key=lambda each: each["type"] == "extra_forbidden")  # a misspelt name comes first
    known = parameters(kind)
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return FaultError(f"fault {kind.name} has no parameter {name!r}", _suggestion(name, known))
    if error["type"] == "missing":
        return FaultError(f"fault {kind.name} needs {name}", f"{name}: {known[name]}")
    said = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if not name:
        return FaultError(f"fault {kind.name}: {said}", f"its parameters: {', '.join(known)}")
    return FaultError(f"fault {kind.name}: {name} {said}, not {error['input']!r}", f"{name}: {known[name]}")


def _suggestion(word: str, known: Iterable[str]) -> str:
    words = list(known)
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(words)}"
