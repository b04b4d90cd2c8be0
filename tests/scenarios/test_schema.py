"""The JSON Schema of scenario files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scenarios.catalogue import names
from scenarios.schema import json_schema

SCHEMA = json_schema()


def errors(schema: Any, value: Any, where: str = "$") -> Iterator[str]:
    """What a validator of the keywords that our schema uses would say."""
    known = {
        "$ref", "$schema", "$defs", "title", "description", "default", "anyOf", "oneOf", "type", "enum", "const", "properties",
        "required", "additionalProperties", "items", "minItems", "minimum", "maximum", "pattern", "discriminator",
    }  # fmt: skip
    if schema is True:
        return
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        yield from errors(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, where)
        return
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and not any(not list(errors(one, value, where)) for one in schema[keyword]):
            yield f"{where}: none of {keyword}"
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = schema.get("type")
    if kind == "null":
        if value is not None:
            yield f"{where}: not null"
    elif kind and not isinstance(value, types[kind]):
        yield f"{where}: not {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: not {schema['const']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where}: not like {schema['pattern']}"
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            if name not in properties and more is False:
                yield f"{where}: {name} is not known"
            else:
                yield from errors(properties.get(name, more), item, f"{where}.{name}")
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from errors(schema.get("items", True), item, f"{where}[{number}]")


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
    ],
    ids=["no-steps", "word", "step", "generation", "key"],
)
def test_schema_refuses_what_validate_refuses(scenario: dict[str, Any]) -> None:
    """An editor with the schema marks misspelt keys and words."""
    assert list(errors(SCHEMA, scenario))
