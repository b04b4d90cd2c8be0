"""The JSON Schema of scenario files: what editors complete and check while one is written."""

from __future__ import annotations

from typing import Any

from scenarios.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema; `leafgate validate` checks more (that leaves exist, for one)."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": DIALECT, **schema, "title": "leafgate scenario"}
