"""Which queues a message belongs in.

Rules: a message goes to each endpoint once, whatever the number of routes that lead there; the most urgent of them
counts. What no route takes goes nowhere. Whatever can be decided without the body is decided once for all messages
with the same topic.
Source: Evaluator.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.hub.routing.config import EdgeHubConfig
from gateway.hub.routing.route import Route, Sink
from gateway.hub.routing.source import in_conditions, is_telemetry, source_of
from gateway.hub.routing.subject import Subject
from gateway.hub.topics import Telemetry

_MOST_REMEMBERED = 4_096  # topics
_MOST_OUTCOMES = 64  # of the conditions about a body, for each topic


class Target(NamedTuple):
    """A queue to store a message in; `time_to_live` in seconds, below 0 for ever, 0 for the hub's own."""

    queue: str
    sink: Sink
    priority: int
    time_to_live: int


@dataclass(slots=True)
class _Plan:
    """What is known of all messages with one topic."""

    counts: bool  # as dropped, when no route takes it
    targets: tuple[Target, ...] | None  # None when bodies have a say
    subject: Subject
    routes: tuple[Route, ...] = ()  # that may take it, in their order
    asking: tuple[Callable[[Subject], bool], ...] = ()  # the conditions of those that look into the body
    outcomes: dict[tuple[bool, ...], tuple[Target, ...]] = field(default_factory=dict)  # by what these come to


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
        if plan.targets is not None:
            return plan.targets
        plan.subject.look_at(body)
        outcome = tuple([meets(plan.subject) for meets in plan.asking])
        targets = plan.outcomes.get(outcome)
        if targets is None:
            if len(plan.outcomes) >= _MOST_OUTCOMES:
                plan.outcomes.clear()
            targets = plan.outcomes[outcome] = self._decide(plan.routes, outcome)
        return targets

    def counts(self, telemetry: Telemetry) -> bool:
        """Tell whether a message counts as dropped when no route takes it; a change of a twin does not."""
        return (self._known.get(telemetry) or self._plan(telemetry)).counts

    def _plan(self, telemetry: Telemetry) -> _Plan:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        system = json.loads(telemetry.system_properties)
        source = source_of(telemetry, system)
        subject = Subject(json.loads(telemetry.properties), in_conditions(telemetry, system, self._edge_device_id), b"")
        routes = [route for route in self._routes if source.startswith(route.source)]
        open_ones = tuple(
            route for route in routes if (route.reads_body and subject.has_json) or route.takes(source, subject)
        )
        plan = _Plan(is_telemetry(source), None, subject, open_ones)
        if subject.has_json:
            plan.asking = tuple(route.meets for route in open_ones if route.reads_body)
        if not plan.asking:
            plan.targets = self._distinct(open_ones)
        self._known[telemetry] = plan
        return plan

    def _decide(self, routes: Iterable[Route], outcome: Iterable[bool]) -> tuple[Target, ...]:
        outcomes = iter(outcome)
        return self._distinct(route for route in routes if not route.reads_body or next(outcomes))

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
