"""Gateways below gateways in one process, each with real ports, and leaves that connect to them."""

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count

import pytest

from certs import Authority
from gateway import Gateway, ManualClock
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE, tls_context
from tests.gateway.conftest import Hub
from tests.test_secrets import leaks

NOW = datetime.now(UTC)


def chain_of(hostname, *, seed=7):
    """A chain for a gateway of that name; chains of one seed have one root."""
    return Authority(hostname=hostname, seed=seed, now=NOW).chain()


class Below(Hub):
    """A gateway below another one: devices are registered at the top."""

    top = None

    def password(self, device_id="press", module_id=None, *, ttl=3600):
        """A good token of a device that the top knows."""
        return self.top.password(device_id, module_id, ttl=ttl)

    async def join(self, device_id="press", module_id=None, **options):
        """A connected device; names in certificates are those of the gateway."""
        options.setdefault("dialled", {"server_name": self.gateway.hostname})
        return await super().join(device_id, module_id, **options)


class Plant:
    """A hierarchy under construction: `top`, then whatever `below` puts there."""

    def __init__(self, stack):
        self.stack = stack
        self.hubs = []
        self.clock = ManualClock()
        self.top = None

    async def start(self, **options):
        """The gateway at the top."""
        self.top = await self._run(Hub, "top.factory.test", **options)
        return self.top

    def register(self, edge, parent=""):
        """Register an edge device; the answer is its connection string."""
        self.top.gateway.add_device(edge, edge=True, parent=parent)
        return self.top.gateway.connection_string(edge)

    def leaf(self, name, edge):
        """Register a leaf below an edge device."""
        self.top.gateway.add_device(name, parent=edge)

    async def below(self, edge, parent=None, *, online=True, connection=None, seed=7, **options):
        """A gateway below another one, running and, if that is expected, connected."""
        above = (parent or self.top).gateway
        if connection is None:
            connection = self.register(edge, above.edge_device_id)
        self.top.gateway.refresh_scope()  # what has been registered since, its Edge Hub would know within the hour
        options.setdefault("parent_address", ("127.0.0.1", above.mqtt_port, above.https_port))
        hub = await self._run(
            Below,
            f"{edge}.factory.test",
            seed=seed,
            parent_hostname=above.hostname,
            parent_connection=connection,
            **options,
        )
        hub.top = self.top
        if online:
            await self.until(lambda: hub.gateway.parent.reachable and "Done refreshing" in hub.log.getvalue())
        return hub

    async def until(self, true):
        """Let the loop turn until something is true."""
        async with asyncio.timeout(PATIENCE):
            for _ in count():
                if true():
                    return
                await asyncio.sleep(0)

    async def _run(self, kind, hostname, *, seed=7, **options):
        chain = chain_of(hostname, seed=seed)
        gateway = Gateway(chain=chain, clock=self.clock, **options)
        hub = kind(gateway, self.clock, tls_context(chain))
        gateway.log.setLevel(logging.DEBUG)
        self.hubs.append(hub)
        self.stack.push_async_callback(hub.close)
        await gateway.start()
        return hub


@pytest.fixture
async def plant():
    """An empty plant; whatever happens in it, no key and no signature is in anybody's log."""
    async with AsyncExitStack() as stack:
        plant = Plant(stack)
        yield plant
    for hub in plant.hubs:
        assert not leaks(hub.log.getvalue())


def telemetry(device, body, packet_id=1):
    """A message of a device."""
    return p.publish(f"devices/{device}/messages/events/", body, packet_id=packet_id)
