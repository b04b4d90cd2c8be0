"""A route of the $edgeHub twin: which messages it takes, and where they go.

Sources: RouteFactory.cs, CustomMessageSource.cs and EndpointFactory.cs of Azure/iotedge;
https://learn.microsoft.com/azure/iot-edge/module-composition#declare-routes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.hub.routing.subject import Subject

DEFAULT_PRIORITY = 2_000_000_000


@dataclass(frozen=True)
class Upstream:
    """To IoT Hub, or to the parent gateway."""

    def __str__(self) -> str:
        return "$upstream"


@dataclass(frozen=True)
class Input:
    """To an input of a module on this gateway."""

    module_id: str
    name: str

    def __str__(self) -> str:
        return f"{self.module_id}/{self.name}"


Sink = Upstream | Input


@dataclass(frozen=True)
class Route:
    """A compiled route; `priority` 0 goes first, `time_to_live` is in seconds, 0 for the hub's own."""

    text: str
    source: str  # in lower case, with a slash at its end
    sink: Sink
    meets: Callable[[Subject], bool] = field(repr=False, compare=False)
    priority: int = DEFAULT_PRIORITY
    time_to_live: int = 0
    reads_body: bool = False

    @property
    def takes_everything(self) -> bool:
        """Whether there is no message that does not go this way."""
        return self.source == "/" and self.meets is always

    def takes(self, source: str, subject: Subject) -> bool:
        """Tell whether a message from `source` (in lower case, see `source`) goes this way."""
        return source.startswith(self.source) and self.meets(subject)


def everything_upstream() -> Route:
    """Return `FROM /* INTO $upstream`, with which the hub ships."""
    return Route("FROM /* INTO $upstream", "/", Upstream(), always)


def always(_subject: Subject) -> bool:
    """Take every message."""
    return True
