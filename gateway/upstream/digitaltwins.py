"""Digital twins: the twin of an IoT Plug and Play device, told in properties, components and commands.

Rules: what a device reports is the value of a property, what a back end wants is its desired value; a component is an
object marked with "__t": "c". A patch sets desired values of whole properties and components, or none at all. A command
is a direct method, that of a component is called `component*command`.
Sources: "Understand IoT Plug and Play digital twins", "Manage IoT Plug and Play digital twins", "IoT Plug and Play
conventions"; RFC 6902. No model is read, so a property that none has is not refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jsonpatch
import jsonpointer

from gateway.errors import HubCode, ServiceError, TwinRefusedError
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins

_NAME = re.compile(r"[a-zA-Z](?:[a-zA-Z0-9_]{0,62}[a-zA-Z0-9])?\Z")
_MOST_DEPTH = 5
_OPERATIONS = ("add", "replace", "remove")
_MARK = "__t"


class DigitalTwins:
    """The digital twins of devices; `model` gives the model id that a device connected with."""

    def __init__(self, registry: Callable[[], Registry], twins: Twins, model: Callable[[str], str]) -> None:
        self._registry = registry
        self._twins = twins
        self._model = model

    def document(self, device_id: str) -> tuple[dict[str, Any], str]:
        """A digital twin and its ETag. Raises ServiceError (404)."""
        self.check(device_id)
        properties = self._twins.document(device_id)["properties"]
        root = _component(properties["desired"], properties["reported"])
        components = _components(properties["desired"]) | _components(properties["reported"])
        for name in sorted(components):
            root[name] = _component(_below(properties["desired"], name), _below(properties["reported"], name))
        metadata = {"$model": self._model(device_id), **root.pop("$metadata")}
        return {"$dtId": device_id, **root, "$metadata": metadata}, self._twins.get(device_id).etag

    def update(self, device_id: str, patch: Any, if_match: str | None = None) -> str:
        """Apply a JSON Patch to the desired values; returns the new ETag. Raises ServiceError (400, 404, 412)."""
        document, _ = self.document(device_id)
        operations = _checked(patch, document)
        desired: dict[str, Any] = {}
        for operation, path in operations:
            self._want(desired, document, operation, path, self._twins.get(device_id).desired)
        try:
            return self._twins.update(device_id, desired=desired, etag=if_match).etag
        except TwinRefusedError as refused:
            raise ServiceError(refused.status, HubCode(refused.code).name, refused.message) from None

    def check(self, device_id: str) -> None:
        """Raise ServiceError unless there is such a device."""
        if device_id not in self._registry():
            raise ServiceError(404, "DeviceNotFound", f"The device {device_id!r} does not exist.")

    @staticmethod
    def _want(
        desired: dict[str, Any],
        document: Mapping[str, Any],
        operation: Mapping[str, Any],
        path: Sequence[str],
        before: Mapping[str, Any],
    ) -> None:
        """Add to a patch of the desired properties what one operation wants."""
        name, *inner = path
        value = None if operation["op"] == "remove" else operation["value"]
        known = _is_component(document.get(name)) or _object(desired.get(name)).get(_MARK) == "c"
        component = known or _is_component(value)
        before = _object(before.get(name))
        if not inner and not component:
            desired[name] = value
        elif not inner:
            if value is not None and not _is_component(value):
                _refuse("InvalidDigitalTwinPatch", f'{name} needs an empty "$metadata" to stay a component')
            wanted = None if value is None else {each: one for each, one in value.items() if each != "$metadata"}
            gone = {each: None for each in before if each != _MARK and (wanted or {}).get(each) is None}
            desired[name] = None if wanted is None else {_MARK: "c", **gone, **wanted}
        elif component:
            section = desired.get(name) or {_MARK: "c"}
            section[inner[0]] = value
            left = {**before, **section}
            desired[name] = section if any(one is not None for each, one in left.items() if each != _MARK) else None
        else:
            _refuse("InvalidDigitalTwinPatchPath", f"{operation['path']!r} is no property of a component")


def command_name(command: str, component: str | None = None) -> str:
    """The direct method that a command is."""
    return command if component is None else f"{component}*{command}"


# -- reading a twin ----------------------------------------------------------------------------------------------------


def _below(section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A component in a section of a twin, with its part of the metadata."""
    found = section.get(name)
    inner = dict(found) if isinstance(found, dict) else {}
    return {**inner, "$metadata": section["$metadata"].get(name, {}), "$version": section["$version"]}


def _components(section: Mapping[str, Any]) -> set[str]:
    return {name for name, value in section.items() if isinstance(value, dict) and value.get(_MARK) == "c"}


def _component(desired: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    skipped = _components(desired) | _components(reported) | {_MARK, "$metadata", "$version"}
    for name in [*reported, *(each for each in desired if each not in reported)]:
        if name in skipped:
            continue
        state: dict[str, Any] = {}
        if name in desired:
            updated = desired["$metadata"].get(name, {})
            version = updated.get("$lastUpdatedVersion", desired["$version"])
            state |= {"desiredValue": desired[name], "desiredVersion": version}
        if name in reported:
            values[name], acknowledged = _acknowledged(reported[name])
            state |= acknowledged
            if moment := reported["$metadata"].get(name, {}).get("$lastUpdated"):
                state["lastUpdateTime"] = moment
        metadata[name] = state
    return {**values, "$metadata": metadata}


def _acknowledged(value: Any) -> tuple[Any, dict[str, Any]]:
    """What a device reports: the value, and what it says to the desired one ("IoT Plug and Play conventions")."""
    if not (isinstance(value, dict) and "value" in value and ("ac" in value or "av" in value)):
        return value, {}
    said = {"ackVersion": value.get("av"), "ackCode": value.get("ac"), "ackDescription": value.get("ad")}
    return value["value"], {name: one for name, one in said.items() if one is not None}


# -- reading a patch ---------------------------------------------------------------------------------------------------


def _checked(patch: Any, document: dict[str, Any]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """The operations of a patch that applies to a digital twin, each with its path in parts."""
    if not isinstance(patch, list) or not patch or not all(isinstance(one, dict) for one in patch):
        _refuse("InvalidDigitalTwinPatch", "a patch is a list of JSON Patch operations")
    found = []
    for operation in patch:
        if operation.get("op") not in _OPERATIONS:
            _refuse("InvalidDigitalTwinPatch", f"the operation {operation.get('op')!r} is none of {_OPERATIONS}")
        found.append((operation, _path(operation)))
    try:
        jsonpatch.JsonPatch(patch).apply(_with_desired(document))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as wrong:
        _refuse("InvalidDigitalTwinPatch", f"it does not apply: {wrong}")
    for operation, path in found:
        if operation["op"] != "remove":
            _check_value(operation["value"], path)
    return found


def _path(operation: Mapping[str, Any]) -> list[str]:
    try:
        parts = [str(part) for part in jsonpointer.JsonPointer(operation["path"]).parts]
    except (jsonpointer.JsonPointerException, TypeError, KeyError):
        parts = []
    if not 1 <= len(parts) <= 2 or not all(map(_NAME.match, parts)):
        _refuse("InvalidDigitalTwinPatchPath", f"{operation.get('path')!r} is neither a property nor a component")
    return parts


def _with_desired(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a digital twin in which properties that are only desired are there, too."""
    wanted = {
        name: one["desiredValue"] for name, one in document["$metadata"].items() if "desiredValue" in _object(one)
    }
    plain = {name: _with_desired(one) if _is_component(one) else one for name, one in document.items()}
    return wanted | plain


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_component(value: Any) -> bool:
    return isinstance(value, dict) and "$metadata" in value


def _check_value(value: Any, path: Sequence[str]) -> None:
    name = "/".join(path)
    if not _is_component(value):
        _check_property(name, value, 0)
        return
    if len(path) > 1:
        _refuse("InvalidDigitalTwinPatch", f"{name} cannot be a component: components do not nest")
    if value["$metadata"] != {}:
        _refuse("InvalidDigitalTwinPatch", f'{name} needs an empty "$metadata" to be a component')
    for inner, one in value.items():
        if inner != "$metadata":
            _check_property(f"{name}/{inner}", one, 0)


def _check_property(name: str, value: Any, depth: int) -> None:
    if not _NAME.match(name.rpartition("/")[2]):
        _invalid(name, "its name is no name of DTDL")
    if value is None or isinstance(value, list):
        _invalid(name, "null and arrays are no values of a property")
    if isinstance(value, dict):
        if depth >= _MOST_DEPTH:
            _invalid(name, f"objects nest {_MOST_DEPTH} levels at most")
        for inner, one in value.items():
            _check_property(f"{name}/{inner}", one, depth + 1)


def _invalid(name: str, why: str) -> NoReturn:
    message = f"'{name}' is not digital twin conformant property: {why}. Please refer to aka.ms/dtpatch."
    raise ServiceError(400, "ArgumentInvalid", message)


def _refuse(code: str, why: str) -> NoReturn:
    raise ServiceError(400, code, f"The patch of the digital twin is invalid: {why}.")
