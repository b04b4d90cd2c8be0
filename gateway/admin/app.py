"""The emulator's own interface, `/api/v1`: what no real product has and every test bench needs."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from gateway.backend import BackEnd


class Health(BaseModel):
    """Whether Edge Hub takes connections."""

    status: str
    hostname: str
    connected_clients: int


def application(gateway: BackEnd) -> FastAPI:
    """The application for one gateway."""
    app = FastAPI(title="leafgate", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")

    @app.get("/api/v1/health")
    async def health() -> Health:
        """`up`, or `down` while Edge Hub is not running."""
        status = "up" if gateway.running else "down"
        return Health(status=status, hostname=gateway.hostname, connected_clients=gateway.connected_clients)

    return app
