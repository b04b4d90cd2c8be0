"""Settings of the gateway as they are given on a command line: NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from gateway import Settings
from scenarios.errors import ScenariosError
from scenarios.fields import suggestion


def parse_settings(given: Sequence[str]) -> Settings:
    """Read `NAME=VALUE` each; raises ScenariosError with what to write instead."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ScenariosError(f"{text!r} is no setting", "write NAME=VALUE, as in max_keep_alive=30")
        if name not in Settings.model_fields:
            raise ScenariosError(f"there is no setting {name!r}", suggestion(name, sorted(Settings.model_fields)))
        values[name] = value.strip()
    try:
        return Settings.model_validate(values)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        name = str(first["loc"][0])
        hint = f"{name}: {Settings.model_fields[name].description}"
        raise ScenariosError(f"{name}={values[name]}: {first['msg'].lower()}", hint) from None
