"""`/link`: how the line to IoT Hub is, and switching it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.problems import RefusedError, responses
from gateway.backend import BackEnd
from gateway.upstream.link import LinkState


class Switch(BaseModel):
    """What changes; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    state: LinkState | None = Field(default=None, description="how the line is from now on")
    latency: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        default=None, description="seconds that each operation takes while it is `slow`"
    )
    unauthorized: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        default=None, max_length=1_000, description="ids of the devices whose operations IoT Hub refuses; [] ends that"
    )
    noticed: bool = Field(
        default=False, description="let Edge Hub know at once, instead of by its next operation or probe"
    )


class LinkFacts(BaseModel):
    """How the line is, and what Edge Hub believes of it."""

    state: LinkState
    latency: float
    unauthorized: list[str]
    reachable: bool = Field(description="whether IoT Hub can be reached at all")
    edge_hub: str | None = Field(description="connected, trying or disconnected; null while Edge Hub is down")


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["link"])

    @routes.get("/link")
    async def show() -> LinkFacts:
        """How the line is."""
        return _facts(gateway)

    @routes.put("/link", responses=responses(400, 409))
    async def switch(change: Switch) -> LinkFacts:
        """Switch the line; leaves stay connected."""
        if not change.model_fields_set - {"noticed"}:
            raise RefusedError(400, "nothing is switched", "name `state`, `latency` or `unauthorized`")
        if gateway.parent is not None:
            hint = "stop the gateway above, or switch the link at the top"
            raise RefusedError(409, f"{gateway.hostname} is below another gateway: its line is a real one", hint)
        link = gateway.upstream.link
        if change.unauthorized is not None:
            link.unauthorized = set(change.unauthorized)
        link.switch(change.state or link.state, latency=change.latency, noticed=change.noticed)
        return _facts(gateway)

    return routes


def _facts(gateway: BackEnd) -> LinkFacts:
    link, process = gateway.upstream.link, gateway.process
    return LinkFacts(
        state=link.state,
        latency=link.latency,
        unauthorized=sorted(link.unauthorized),
        reachable=link.reachable,
        edge_hub=None if process is None else process.connectivity.state.name.lower(),
    )
