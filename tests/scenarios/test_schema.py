"""The JSON Schema of scenario files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scenarios.catalogue import names
from scenarios.schema import json_schema

SCHEMA = json_schema()


KEYWORDS = {
    *("$ref", "$schema", "$defs", "title", "description", "default", "anyOf", "oneOf", "type", "enum", "const"),
    *("properties", "required", "additionalProperties", "items", "minItems", "minimum", "maximum", "discriminator"),
    *("minLength", "exclusiveMinimum"),
}
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def errors(schema: Any, value: Any, where: str = "$") -> Iterator[str]:
    """What a validator of the keywords that our schema uses would say."""
    if schema is True:
        return
    assert set(schema) <= KEYWORDS, "this small validator does not know all keywords of the schema"
    if "$ref" in schema:
        yield from errors(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, where)
        return
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and not any(not list(errors(one, value, where)) for one in schema[keyword]):
            yield f"{where}: none of {keyword}"
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        yield f"{where}: not {schema['type']}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{where}: another word is expected"
    if isinstance(value, int | float) and value <= schema.get("exclusiveMinimum", value - 1):
        yield f"{where}: too small"
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield f"{where}: too short"
    if isinstance(value, dict):
        yield from object_errors(schema, value, where)
    if isinstance(value, list):
        yield from (
            wrong for n, item in enumerate(value) for wrong in errors(schema.get("items", True), item, f"{where}[{n}]")
        )


def object_errors(schema: Any, value: dict[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the keys and values of an object."""
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        if name not in properties and more is False:
            yield f"{where}: {name} is not known"
        else:
            yield from errors(properties.get(name, more), item, f"{where}.{name}")


@pytest.mark.parametrize("path", names().values(), ids=names().keys())
def test_schema_accepts_every_file_of_the_library(path: Path) -> None:
    """An editor with the schema finds nothing wrong in a shipped scenario."""
    assert list(errors(SCHEMA, YAML(typ="safe", pure=True).load(path))) == []


@pytest.mark.parametrize(
    "scenario",
    [
        {},
        {"steps": [{"connect": "a", "expect": "conected"}]},
        {"steps": [{"publisch": "a"}]},
        {"steps": [{"connect": "a"}], "gateway": {"generation": "1.6"}},
        {"steps": [{"connect": "a", "expect": {"refused": {"verify_kode": 18}}}]},
        {"steps": [{"fault": {"dely": {"seconds": 1}}}]},
        {"steps": [{"fault": {"delay": {"secs": 1}}}]},
        {"steps": [{"fault": {"reset": {"client_id": ""}}}]},
    ],
    ids=["no-steps", "word", "step", "generation", "key", "fault", "fault-parameter", "fault-empty"],
)
def test_schema_refuses_what_validate_refuses(scenario: dict[str, Any]) -> None:
    """An editor with the schema marks misspelt keys and words."""
    assert list(errors(SCHEMA, scenario))
