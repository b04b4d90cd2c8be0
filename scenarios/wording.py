"""What is wrong with a file, in the words of somebody who helps: what was meant, or what may stand there."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from scenarios.fields import suggestion
from scenarios.model import STEPS, TAG, Scenario


def in_words(error: Any, location: tuple[int | str, ...]) -> str:
    """One error of pydantic's as a sentence for the author of the file."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    word = location[-1] if location else ""
    if kind == "extra_forbidden":
        return f"`{word}` is not known here; {suggestion(word, keys_at(location[:-1]))}"
    if kind == "missing":
        return f"`{word}` is missing here; add it"
    if kind == "literal_error":
        words = [item.strip(" '") for item in context["expected"].replace(" or ", ",").split(",")]
        return f'{word} "{value}" does not exist; {suggestion(value, words)}'
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        first = next(iter(value), "") if isinstance(value, dict) else value
        return f"there is no step `{first}`; {suggestion(first, STEPS)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"`{word}` takes keys of its own here: {', '.join(keys_at(location)) or 'NAME: {...}'}"
    return _plain_message(error, word)


_MESSAGES = {
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "string_type": "write a text",
    "list_type": "write a list: [a, b]",
    "too_short": "it is empty; write at least one",
}


def _plain_message(error: Any, word: int | str) -> str:
    what = _MESSAGES.get(error["type"])
    if what is None:
        return str(error["msg"]).replace("Input ", f"`{word}` ", 1)
    return f"{what} instead of {error['input']!r}" if error["input"] not in ([], {}, None) else what


def keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that may be written at `location`."""
    models: list[Any] = [Scenario]
    for part in location:
        if isinstance(part, str) and part.startswith(TAG):
            models = [STEPS[part.removeprefix(TAG)]]
        else:
            models = [inner for model in models for inner in _inside(model, part)]
    keys = [spec.alias or name for model in models if _is_model(model) for name, spec in model.model_fields.items()]
    return list(dict.fromkeys(keys))


def _inside(annotation: Any, part: int | str) -> list[Any]:
    """The models (or containers of models) below `annotation` at the key or index `part`."""
    if _is_model(annotation):
        for name, spec in annotation.model_fields.items():
            if part in (name, spec.alias):
                return list(_flat(spec.annotation))
        return []
    arguments = typing.get_args(annotation)
    return list(_flat(arguments[-1])) if arguments else []


def _flat(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _flat(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from _flat(argument)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
