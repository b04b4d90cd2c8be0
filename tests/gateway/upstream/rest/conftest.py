"""A gateway with the service API, and somebody who calls it."""

import asyncio

import pytest

from tests.gateway.upstream.rest.caller import Caller


@pytest.fixture
async def hub(start):
    """A running gateway with the service API and a clock that stands still."""
    return await start(hub_port=0)


@pytest.fixture
def call(hub):
    """Calls the API: `await call("GET", "/devices/d1")`."""
    return Caller(hub.gateway)


@pytest.fixture
def together():
    """Runs two things at once: `await together(a(), b())`."""

    async def run(*things):
        return await asyncio.gather(*things)

    return run
