"""`/health`: whether Edge Hub takes connections."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.backend import BackEnd


class Health(BaseModel):
    """Whether Edge Hub takes connections."""

    status: Literal["up", "down"]
    hostname: str
    connected_clients: int


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health")
    async def health() -> Health:
        """`up`, or `down` while Edge Hub is not running."""
        return Health(
            status="up" if gateway.running else "down",
            hostname=gateway.hostname,
            connected_clients=gateway.connected_clients,
        )

    return routes
