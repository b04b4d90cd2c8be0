"""The parts that all models of the file format are made of.

Rule: no model of the format accepts a key that it does not know, and none changes after it was read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

DURATION = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Strict(BaseModel):
    """Base of all models of the file format."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=False)


def seconds(text: object) -> float:
    """The duration `text` ("500ms", "30s", "2h") in seconds."""
    if isinstance(text, float):
        return text
    if not isinstance(text, str) or not re.match(DURATION, text):
        raise PydanticCustomError(
            "duration",
            "{text} is not a duration; write a number with its unit: 500ms, 30s, 5m, 2h or 1d",
            {"text": text},
        )
    number, unit = re.match(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]  # DURATION matched
    return float(number) * _SECONDS[unit]


def duration(value: float) -> str:
    """The seconds as one would write them: 7200 is 2h."""
    unit = next((unit for unit in ("d", "h", "m", "s") if value and value % _SECONDS[unit] == 0), "ms")
    return f"{value / _SECONDS[unit]:g}{unit}"


Duration = Annotated[float, BeforeValidator(seconds, json_schema_input_type=str)]


def text_only(value: object) -> object:
    """Refuse a number where YAML took a version for one: `1.2` is a float, `"1.2"` is what was meant."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise PydanticCustomError(
            "quote", '{value} is read as a number here; write "{value}" in quotes', {"value": value}
        )
    return value


Text = Annotated[str, BeforeValidator(text_only, json_schema_input_type=str)]


def one_or_many(value: object) -> object:
    """A single text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def shorthand(make: Callable[[str], dict[str, Any]], input_type: Any) -> BeforeValidator:
    """Let a plain word stand for the mapping that `make` gives."""

    def expand(value: object) -> object:
        return make(value) if isinstance(value, str) else value

    return BeforeValidator(expand, json_schema_input_type=input_type)


def suggestion(word: object, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known word, or all of them."""
    words = list(known)
    near = difflib.get_close_matches(str(word).lower(), [name.lower() for name in words], n=1, cutoff=0.7)
    if near:
        best = next(name for name in words if name.lower() == near[0])
        return f"did you mean `{best}`?"
    return f"one of {', '.join(words)}" if words else "nothing can be written here"


def known_word(what: str, known: Callable[[], Iterable[str]]) -> BeforeValidator:
    """Accept only words of a catalogue that is known at run time."""

    def check(value: object) -> object:
        words = sorted(known())
        if value not in words:
            raise PydanticCustomError(
                "unknown_word",
                "{what} {value} does not exist; {suggestion}",
                {"what": what, "value": f'"{value}"', "suggestion": suggestion(value, words)},
            )
        return value

    return BeforeValidator(check, json_schema_input_type=str)
