"""A gateway with its own HTTP interface, and a client for it."""

import httpx
import pytest


@pytest.fixture
async def hub(start):
    """A running gateway with a clock that stands until it is moved."""
    return await start(admin_port=0)


@pytest.fixture
async def web(hub):
    """An HTTP client whose addresses begin behind /api/v1."""
    async with httpx.AsyncClient(base_url=f"{hub.gateway.admin_url}/api/v1", timeout=30) as client:
        yield client
