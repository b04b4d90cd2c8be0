"""Which queues a message belongs in.

Rules: a message goes to each endpoint once, whatever the number of routes that lead there; the most urgent of them
counts. What no route takes goes nowhere. Whatever can be decided without the body is decided once for all messages
with the same topic.
Source: Evaluator.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from gateway.hub.routing.config import EdgeHubConfig
from gateway.hub.routing.route import Route, Sink
from gateway.hub.routing.source import in_conditions, is_telemetry, source_of
from gateway.hub.routing.subject import Subject
from gateway.hub.topics import Telemetry

_MOST_REMEMBERED = 4_096


class Target(NamedTuple):
    """A queue to store a message in; `time_to_live` in seconds, below 0 for ever, 0 for the hub's own."""

    queue: str
    sink: Sink
    priority: int
    time_to_live: int


class _Plan(NamedTuple):
    """What is known of all messages with one topic: where they go, or which routes have to look into their bodies."""

    targets: tuple[Target, ...]
    routes: tuple[Route, ...]  # in their order, with those that are met whatever the body; empty when it is all decided
    subject: Subject
    counts: bool  # as dropped, when no route takes it


class Router:
    """The routes of one configuration."""

    def __init__(self, config: EdgeHubConfig, edge_device_id: str = "") -> None:
        self._routes = tuple(config.routes.values())
        self._time_to_live = config.time_to_live
        self._edge_device_id = edge_device_id
        all_alike = bool(self._routes) and all(route.takes_everything for route in self._routes)
        self._always = self._distinct(self._routes) if all_alike else None
        self._known: dict[Telemetry, _Plan] = {}

    def targets(self, telemetry: Telemetry, body: bytes) -> tuple[Target, ...]:
        """Return where a message goes."""
        if self._always is not None:
            return self._always
        plan = self._known.get(telemetry) or self._plan(telemetry)
        if not plan.routes:
            return plan.targets
        subject = plan.subject.with_body(body)
        return self._distinct(route for route in plan.routes if not route.reads_body or route.meets(subject))

    def counts(self, telemetry: Telemetry) -> bool:
        """Tell whether a message counts as dropped when no route takes it; a change of a twin does not."""
        return (self._known.get(telemetry) or self._plan(telemetry)).counts

    def _plan(self, telemetry: Telemetry) -> _Plan:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        system = json.loads(telemetry.system_properties)
        source = source_of(telemetry, system)
        seen = in_conditions(telemetry, system, self._edge_device_id)
        subject = Subject(json.loads(telemetry.properties), seen, b"")
        routes = tuple(
            route
            for route in self._routes
            if source.startswith(route.source)
            and ((route.reads_body and subject.has_json) or route.takes(source, subject))
        )
        if not any(route.reads_body and subject.has_json for route in routes):
            plan = _Plan(self._distinct(routes), (), subject, is_telemetry(source))
        else:
            plan = _Plan((), routes, subject, is_telemetry(source))
        self._known[telemetry] = plan
        return plan

    def _distinct(self, routes: Iterable[Route]) -> tuple[Target, ...]:
        best: dict[Sink, Route] = {}
        for route in routes:
            rival = best.get(route.sink)
            if rival is None or route.priority < rival.priority:
                best[route.sink] = route
        return tuple(
            Target(queue_name(sink, route.priority), sink, route.priority, route.time_to_live or self._time_to_live)
            for sink, route in best.items()
        )


def queue_name(sink: Sink, priority: int) -> str:
    """Return the name of an endpoint's queue in the store."""
    return f"{priority} {sink}"
