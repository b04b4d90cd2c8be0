"""The route language of Edge Hub: `FROM /messages/* WHERE temperature > 30 INTO $upstream`, compiled.

route = compile_route("FROM /messages/* WHERE as_number(temperature) > 30 INTO $upstream")
route.takes("/messages/events/", Subject({"temperature": "31"}, {}, b""))
"""

from gateway.hub.routing.errors import RouteError
from gateway.hub.routing.route import DEFAULT_PRIORITY, Input, Route, Sink, Upstream
from gateway.hub.routing.source import telemetry_source
from gateway.hub.routing.subject import Subject

__all__ = [
    "DEFAULT_PRIORITY",
    "Input",
    "Route",
    "RouteError",
    "Sink",
    "Subject",
    "Upstream",
    "telemetry_source",
]
