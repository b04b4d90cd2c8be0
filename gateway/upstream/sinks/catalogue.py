"""The sinks by name, and making one of what a person has written."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from gateway.upstream.sinks.sink import Sink, SinkError

GROUP = "leafgate.sinks"

#: makes a sink from its parameters, which may be text
Maker = Callable[..., Sink]

_registered: dict[str, Maker] = {}  # beside what packages declare; names belong to the process, as entry points do


def register(name: str, make: Maker) -> Callable[[], None]:
    """Let `name` stand for `make`, a class or function whose parameters have names; the answer ends that."""
    _registered[name] = make

    def unregister() -> None:
        if _registered.get(name) is make:
            del _registered[name]

    return unregister


def names() -> tuple[str, ...]:
    """The sinks that there are."""
    return tuple(sorted({*(entry.name for entry in entry_points(group=GROUP)), *_registered}))


def read(text: str) -> Sink:
    """A sink as `NAME[:key=value,...]`. Raises SinkError with what to write instead."""
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise _wrong(f"sink {name}: {pair!r} is no key=value", "write NAME:key=value,key=value")
        values[key.strip()] = value.strip()
    return make(name.strip(), values)


def make(name: str, values: Mapping[str, Any]) -> Sink:
    """A sink with these parameters. Raises SinkError with what there is."""
    maker = _registered.get(name) or next(
        (entry.load() for entry in entry_points(group=GROUP) if entry.name == name), None
    )
    if maker is None:
        raise _wrong(f"sink {name!r} does not exist", _suggestion(name))
    signature = inspect.signature(maker)
    try:
        signature.bind(**values)
    except TypeError as wrong:
        raise _wrong(f"sink {name}: {wrong}", f"its parameters: {', '.join(signature.parameters)}") from None
    try:
        made: Sink = maker(**values)
    except (ValueError, OSError) as wrong:
        raise _wrong(f"sink {name}: {wrong}", None) from None
    return made


def _wrong(message: str, hint: str | None) -> SinkError:
    error = SinkError(message, hint)
    error.exit_code = 2
    return error


def _suggestion(word: str) -> str:
    near = difflib.get_close_matches(word.lower(), names(), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(names())}"
