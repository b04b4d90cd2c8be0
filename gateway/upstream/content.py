"""The content of a configuration: which desired properties it sets, in whose twins.

Rules: there is one kind of content; keys name a section of the desired properties. An edge deployment that sets whole
twins is a base one, one that sets parts of them is layered and needs a base one below it.
Sources: "Automatic device management at scale" and "Understand IoT Edge automatic deployments" (layered deployment);
IoT Hub error codes 400402; what the hub refuses was tried by mwalser/terraform-provider-iothub (docs, appendix D).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from gateway.errors import ServiceError
from gateway.hub.twin import MOST_BYTES, TwinError, check_properties, compact

EDGE_AGENT, EDGE_HUB = "$edgeAgent", "$edgeHub"
_MOST_MODULES = 50  # "Quotas and throttling": modules in a deployment
_MODULE = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}\Z")  # "Understand the identity registry"
_PREFIX = ("properties", "desired")

Path = tuple[str, ...]


class Kind(Enum):
    """Whom a content is for, by the name that it has."""

    DEVICE = "deviceContent"
    MODULE = "moduleContent"
    EDGE = "modulesContent"


def kind_of(content: Mapping[str, Any]) -> Kind:
    """Which content this is. Raises ServiceError unless it is one kind, and settable."""
    present = [kind for kind in Kind if content.get(kind.value)]
    unknown = [name for name in content if name not in {kind.value for kind in Kind}]
    if unknown:
        raise refused(f"there is no content {unknown[0]!r}")
    if len(present) != 1:
        names = ", ".join(kind.value for kind in Kind)
        raise refused(f"a configuration has one of {names}" + (", not two" if len(present) > 1 else ""))
    section = content[present[0].value]
    if not isinstance(section, Mapping):
        raise refused(f"{present[0].value} must be a JSON object")
    if present[0] is Kind.EDGE:
        _check_modules(section)
    else:
        settings(section)
    return present[0]


def _check_modules(modules: Mapping[str, Any]) -> None:
    if EDGE_AGENT not in modules:
        raise refused(f"modulesContent has no {EDGE_AGENT}")
    if len(modules) > _MOST_MODULES:
        raise refused(f"a deployment has at most {_MOST_MODULES} modules")
    for name, section in modules.items():
        if not _MODULE.match(name):
            raise refused(f"{name!r} cannot be the id of a module")
        if not isinstance(section, Mapping):
            raise refused(f"the content of module {name!r} must be a JSON object")
        settings(section)


def settings(section: Mapping[str, Any]) -> dict[Path, Any]:
    """What a section sets: below `properties.desired`, which itself is the empty path. Raises ServiceError."""
    found: dict[Path, Any] = {}
    for key, value in section.items():
        path = tuple(key.split("."))
        if path[:2] != _PREFIX or not all(path):
            raise refused(f"{key!r} is no path into the desired properties")
        if len(path) == 2 and not isinstance(value, Mapping):
            raise refused("properties.desired must be a JSON object")
        found[path[2:]] = value
    return found


def is_layered(modules: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an edge deployment sets parts of twins only."""
    return any(path for section in modules.values() for path in settings(section))


def place(document: dict[str, Any], path: Path, value: Any) -> None:
    """Set what stands at a path of a document; null takes it away, with the objects that it leaves empty."""
    if not path:
        document.clear()
        document.update(without_nulls(value))
        return
    name, *below = path
    if below:
        inner = document.get(name)
        if not isinstance(inner, dict):
            if value is None:
                return
            inner = document[name] = {}
        place(inner, tuple(below), value)
        if value is None and not inner:
            del document[name]
    elif value is None:
        document.pop(name, None)
    else:
        document[name] = without_nulls(value) if isinstance(value, Mapping) else copy.deepcopy(value)


def without_nulls(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document without what is null: a null removes a property."""
    return {
        name: without_nulls(value) if isinstance(value, Mapping) else copy.deepcopy(value)
        for name, value in document.items()
        if value is not None
    }


def check_desired(client_id: str, document: dict[str, Any]) -> None:
    """Refuse desired properties that a twin cannot hold. Raises ServiceError."""
    try:
        check_properties(document)
        size = len(compact(document).encode())
    except TwinError as wrong:
        raise refused(f"{client_id}: {wrong.message}") from None
    except ValueError as wrong:
        raise refused(f"{client_id}: {wrong}") from None
    if size > MOST_BYTES:
        raise refused(f"the desired properties of {client_id} would have {size} bytes; {MOST_BYTES} is the most")


def deployed_modules(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The modules of an edge deployment: those whose twins it sets, and those that it has $edgeAgent start."""
    yield from modules
    desired: dict[str, Any] = {}
    for path, value in settings(modules[EDGE_AGENT]).items():
        place(desired, path, value)
    started = desired.get("modules")
    if isinstance(started, dict):
        yield from (name for name in started if name not in modules and _MODULE.match(name))


def refused(why: str) -> ServiceError:
    """The content cannot be used."""
    return ServiceError(400, "InvalidConfigurationContent", f"The configuration content is invalid: {why}.")
