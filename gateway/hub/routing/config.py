"""What the desired properties of $edgeHub say: routes and store-and-forward.

Rule: a configuration is taken whole or not at all; who gets an error keeps what was there.
Sources: EdgeHubConfigParser.cs, EdgeHubDesiredProperties*.cs and SchemaVersionHelper.cs of Azure/iotedge;
https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub#edgehub-desired-properties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError
from gateway.hub.routing.errors import RouteError
from gateway.hub.routing.route import DEFAULT_PRIORITY, Route, everything_upstream

FOR_EVER = -1
_VERSION = re.compile(r"(\d+)\.(\d+)(\.\d+)*\Z")
_OBJECT_ROUTES_SINCE = (1, 1)
_NEWEST = (1, 3)
_HIGHEST_PRIORITY, _LOWEST_PRIORITY = 0, 9


class EdgeHubConfigError(GatewayError):
    """The desired properties of $edgeHub cannot be used; `where` is the path of what is wrong."""

    exit_code = 2

    def __init__(self, where: str, problem: str, hint: str | None = None) -> None:
        self.where = where
        super().__init__(f"{where}: {problem}", hint)


@dataclass(frozen=True)
class EdgeHubConfig:
    """Routes by name, and how long messages wait: `time_to_live` in seconds, below 0 for ever.

    `max_size` is how many bytes of them a store in memory takes, None for any number.
    """

    routes: Mapping[str, Route]
    time_to_live: int = FOR_EVER
    schema_version: str = "1.1"
    max_size: int | None = None


def default_config() -> EdgeHubConfig:
    """Return what the hub ships with: everything goes upstream, and waits for ever."""
    return EdgeHubConfig({"route": everything_upstream()})


def read_config(desired: Mapping[str, Any]) -> EdgeHubConfig:
    """Read the desired properties of $edgeHub. Raises EdgeHubConfigError."""
    text, version = _schema_version(desired.get("schemaVersion"))
    routes = desired.get("routes") or {}
    if not isinstance(routes, Mapping):
        raise EdgeHubConfigError("routes", "is no object", 'write {"NAME": "FROM /messages/* INTO $upstream"}')
    named = {
        name: _route(f"routes.{name}", value, version)
        for name, value in routes.items()
        if value is not None and not _is_left_out(value, version)
    }
    section = desired.get("storeAndForwardConfiguration")
    if section is not None and not isinstance(section, Mapping):
        raise EdgeHubConfigError("storeAndForwardConfiguration", "is no object", '{"timeToLiveSecs": 7200}')
    return EdgeHubConfig(named, _time_to_live(section or {}), text, _max_size(section or {}))


def _is_left_out(value: Any, version: tuple[int, int]) -> bool:
    """Tell whether a route is blank, which schema version 1.0 passes over."""
    return version < _OBJECT_ROUTES_SINCE and isinstance(value, str) and not value.strip()


def _schema_version(value: Any) -> tuple[str, tuple[int, int]]:
    match = _VERSION.match(value) if isinstance(value, str) else None
    if match is None:
        raise EdgeHubConfigError("schemaVersion", f"{value!r} is no version", 'write "1.1"')
    version = int(match[1]), int(match[2])
    if version[0] != 1 or version > _NEWEST:
        raise EdgeHubConfigError("schemaVersion", f"{value} is not supported", "1.0 to 1.3 are")
    return match[0], version


def _route(where: str, value: Any, version: tuple[int, int]) -> Route:
    fields: Any = {"route": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or not isinstance(fields.get("route"), str):
        raise EdgeHubConfigError(where, "has no route", 'write a route, or {"route": ..., "priority": 0}')
    if not isinstance(value, str) and version < _OBJECT_ROUTES_SINCE:
        raise EdgeHubConfigError(where, "a route as an object needs schema version 1.1", 'set "schemaVersion": "1.1"')
    priority = fields.get("priority")
    lowest = _LOWEST_PRIORITY
    if priority is not None and not (
        _is_whole(priority) and (_HIGHEST_PRIORITY <= priority <= lowest or priority == DEFAULT_PRIORITY)
    ):
        raise EdgeHubConfigError(f"{where}.priority", f"{priority!r} is no priority", "0 (first) to 9")
    time_to_live = fields.get("timeToLiveSecs", 0)
    if not (_is_whole(time_to_live) and time_to_live >= 0):
        raise EdgeHubConfigError(f"{where}.timeToLiveSecs", f"{time_to_live!r} is no time", "seconds; 0: the hub's own")
    from gateway.hub.routing.parser import compile_route  # noqa: PLC0415 - lark takes 50 ms that few gateways need

    try:
        return compile_route(
            fields["route"],
            priority=DEFAULT_PRIORITY if priority is None else priority,
            time_to_live=time_to_live,
        )
    except RouteError as wrong:
        raise EdgeHubConfigError(where, wrong.message, wrong.hint) from wrong


def _time_to_live(section: Mapping[str, Any]) -> int:
    seconds = section.get("timeToLiveSecs", FOR_EVER)
    if not _is_whole(seconds):
        where = "storeAndForwardConfiguration.timeToLiveSecs"
        raise EdgeHubConfigError(where, f"{seconds!r} is no time", "seconds; -1: for ever")
    return max(int(seconds), FOR_EVER)


def _max_size(section: Mapping[str, Any]) -> int | None:
    limits = section.get("storeLimits")
    if limits is None:
        return None
    where = "storeAndForwardConfiguration.storeLimits"
    if not isinstance(limits, Mapping):
        raise EdgeHubConfigError(where, "is no object", '{"maxSizeBytes": 52428800}')
    size: Any = limits.get("maxSizeBytes")
    if not (_is_whole(size) and size > 0):
        raise EdgeHubConfigError(f"{where}.maxSizeBytes", f"{size!r} is no size", "bytes, 1 at least")
    return int(size)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
