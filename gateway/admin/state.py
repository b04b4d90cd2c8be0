"""`/state`: the gateway at a glance."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.backend import BackEnd
from gateway.upstream.arrivals import TELEMETRY


class Arrived(BaseModel):
    """What has arrived upstream."""

    next: int = Field(description="the number of the newest message; `after` of the feed")
    kept: dict[str, int] = Field(description="messages in memory, by source")
    forgotten: dict[str, int] = Field(description="messages that memory keeps no more, by source")


class State(BaseModel):
    """The gateway at a glance."""

    hostname: str
    running: bool
    now: datetime
    link: str = Field(description="the state of the line to IoT Hub")
    registered: int | None = Field(
        description="devices and modules that IoT Hub knows, the gateway's own included; null below another gateway"
    )
    connected: list[str] = Field(description="client ids")
    faults: list[str] = Field(description="faults that are switched on")
    arrived: Arrived


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["state"])

    @routes.get("/state")
    async def state() -> State:
        """What is connected, what has arrived, what is switched on."""
        inbox = gateway.upstream.inbox
        return State(
            hostname=gateway.hostname,
            running=gateway.running,
            now=datetime.fromtimestamp(gateway.clock.now(), UTC),
            link=gateway.upstream.link.state.value,
            registered=len(gateway.registry) if gateway.parent is None else None,
            connected=sorted(gateway.connected),
            faults=[switched.fault.name for switched in gateway.faults.active],
            arrived=Arrived(
                next=inbox.last,
                kept={TELEMETRY: 0, **inbox.memory.kept},
                forgotten={TELEMETRY: 0, **inbox.memory.forgotten},
            ),
        )

    return routes
