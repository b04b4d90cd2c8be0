"""Which queues a message belongs in.

Rules: a message goes to each endpoint once, whatever the number of routes that lead there; the most urgent of them
counts. What no route takes goes nowhere. Decisions that no body has a say in are remembered by topic.
Source: Evaluator.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from gateway.hub.routing.config import EdgeHubConfig
from gateway.hub.routing.route import Route, Sink, telemetry_source
from gateway.hub.routing.subject import Subject
from gateway.hub.topics import Telemetry

_MOST_REMEMBERED = 4_096


class Target(NamedTuple):
    """A queue to store a message in; `time_to_live` in seconds, 0 for the hub's own."""

    queue: str
    sink: Sink
    priority: int
    time_to_live: int


class Router:
    """The routes of one configuration."""

    def __init__(self, config: EdgeHubConfig) -> None:
        self._routes = tuple(config.routes.values())
        self._remembers = not any(route.reads_body for route in self._routes)
        all_alike = all(route.takes_everything for route in self._routes)
        self._always = _distinct(self._routes) if all_alike else None
        self._known: dict[Telemetry, tuple[Target, ...]] = {}

    def targets(self, telemetry: Telemetry, body: bytes) -> tuple[Target, ...]:
        """Return where a message goes."""
        if self._always is not None:
            return self._always
        found = self._known.get(telemetry)
        if found is None:
            found = self._find(telemetry, body)
            if self._remembers:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[telemetry] = found
        return found

    def _find(self, telemetry: Telemetry, body: bytes) -> tuple[Target, ...]:
        subject = subject_of(telemetry, body)
        output = subject.system("outputname")
        source = telemetry_source(telemetry.module_id, output if isinstance(output, str) else None)
        return _distinct(route for route in self._routes if route.takes(source, subject))


def subject_of(telemetry: Telemetry, body: bytes) -> Subject:
    """Return a message as conditions see it: `$contentType` stands for the system property content-type."""
    stored = json.loads(telemetry.system_properties)
    system = {name.replace("-", ""): value for name, value in stored.items()}
    system["connectionDeviceId"] = telemetry.device_id
    if telemetry.module_id is not None:
        system["connectionModuleId"] = telemetry.module_id
    return Subject(json.loads(telemetry.properties), system, body)


def queue_name(sink: Sink, priority: int) -> str:
    """Return the name of an endpoint's queue in the store."""
    return f"{priority} {sink}"


def _distinct(routes: Iterable[Route]) -> tuple[Target, ...]:
    best: dict[Sink, Route] = {}
    for route in routes:
        rival = best.get(route.sink)
        if rival is None or route.priority < rival.priority:
            best[route.sink] = route
    return tuple(
        Target(queue_name(sink, route.priority), sink, route.priority, route.time_to_live)
        for sink, route in best.items()
    )
