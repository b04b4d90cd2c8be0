"""The emulator's own interface, `/api/v1`: what no real product has and every test bench needs. One router per noun."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.admin import c2d, clock, feed, health, state
from gateway.admin.problems import API, install
from gateway.backend import BackEnd

NOUNS = (health, state, feed, c2d, clock)


def application(gateway: BackEnd) -> FastAPI:
    """The application for one gateway."""
    app = FastAPI(title="leafgate", version="1", docs_url=None, redoc_url=None, openapi_url=f"{API}/openapi.json")
    install(app)
    for noun in NOUNS:
        app.include_router(noun.router(gateway), prefix=API)
    return app
