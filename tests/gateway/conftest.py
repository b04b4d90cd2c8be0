"""A running gateway with a clock that stands still, and everything it says."""

import asyncio
import io
import logging
from contextlib import asynccontextmanager

import pytest

from certs import Authority
from gateway import Gateway, ManualClock
from gateway.logs import EdgeHubFormatter
from tests.gateway import packets
from tests.gateway.client import PATIENCE, Client, tls_context
from tests.gateway.webclient import Web, binary, upgrade


class Hub:
    """A started gateway, with the events it has emitted, its log, and ways to connect to it."""

    def __init__(self, gateway, clock, context):
        self.gateway = gateway
        self.clock = clock
        self.context = context
        self.events = []
        self.log = io.StringIO()
        self._happened = asyncio.Event()
        self.forget_events = gateway.events.subscribe(self._note)
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(EdgeHubFormatter())
        gateway.log.addHandler(handler)
        gateway.log.setLevel(logging.INFO)
        gateway.log.propagate = False
        self._clients = []

    def _note(self, event):
        self.events.append(event)
        self._happened.set()

    async def event(self, kind, **facts):
        """The first event of that kind with those fields, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and all(getattr(event, key) == fact for key, fact in facts.items()):
                        return event
                self._happened.clear()
                await self._happened.wait()

    async def turn(self):
        """Let the gateway do what it has scheduled, and the sockets take what they can."""
        for _ in range(3):
            await asyncio.sleep(0)

    def of(self, kind):
        """The events of that kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def password(self, device_id="press", module_id=None, *, ttl=3600):
        """A good token for a device or module, which is registered if it is new."""
        self.gateway.connection_string(device_id, module_id)
        key = self.gateway.registry.get(device_id, module_id).primary_key
        module = f"/modules/{module_id}" if module_id else ""
        resource = f"{self.gateway.hub_hostname}/devices/{device_id}{module}"
        return packets.sas(resource, key, int(self.clock.now()) + ttl)

    def hello(self, device_id="press", module_id=None, **options):
        """A good CONNECT of a device or module."""
        name = f"{device_id}/{module_id}" if module_id else device_id
        options.setdefault("username", f"{self.gateway.hub_hostname}/{name}/?api-version=2021-04-12")
        return packets.connect(name, password=self.password(device_id, module_id), **options)

    async def tcp(self, **options):
        """A connection without TLS."""
        return self._keep(await Client.tcp(self.gateway.mqtt_port, **options))

    async def dial(self, context=None, **options):
        """A connection with TLS, without CONNECT."""
        return self._keep(await Client.tls(self.gateway.mqtt_port, context or self.context, **options))

    async def web(self, context=None, **options):
        """A connection with TLS to the port for HTTPS and WebSockets."""
        client = await Client.tls(self.gateway.https_port, context or self.context, **options)
        return Web(self._keep(client))

    async def websocket(self, context=None, *, dialled=None, **request):
        """An open WebSocket for MQTT."""
        web = await self.web(context, **(dialled or {}))
        web.send(upgrade(**request))
        status, headers, _ = await web.response()
        assert (status, headers["sec-websocket-protocol"]) == (101, "mqtt")
        return web

    async def join_web(self, device_id="press", module_id=None, *, context=None, present=False, **options):
        """A device that is connected over WebSocket."""
        web = await self.websocket(context)
        web.send(binary(self.hello(device_id, module_id, **options)))
        assert await web.packet() == bytes((0x20, 2, present, 0))
        return web

    async def join(self, device_id="press", module_id=None, *, context=None, present=False, dialled=None, **options):
        """A connected device."""
        client = await self.dial(context, **(dialled or {}))
        client.send(self.hello(device_id, module_id, **options))
        assert await client.packet() == bytes((0x20, 2, present, 0))
        return client

    def _keep(self, client):
        self._clients.append(client)
        return client

    async def close(self):
        """Let go of every client."""
        for client in self._clients:
            client.abort()
        await self.gateway.stop()


@pytest.fixture(scope="session")
def chain():
    """The documented hierarchy for `localhost`, with EC keys."""
    return Authority(hostname="localhost").chain()


@pytest.fixture(scope="session")
def context(chain):
    """A client's TLS context that trusts the chain."""
    return tls_context(chain)


@asynccontextmanager
async def running(chain, context, **options):
    """A started Hub."""
    clock = options.setdefault("clock", ManualClock(1_700_000_000.0))
    gateway = Gateway(chain=chain, **options)
    hub = Hub(gateway, clock, context)
    try:
        await gateway.start()
        yield hub
    finally:
        await hub.close()


@pytest.fixture
async def hub(chain, context):
    """A running gateway with a manual clock and a memory store."""
    async with running(chain, context) as hub:
        yield hub


@pytest.fixture
async def start(chain, context):
    """Starts gateways as the test wants them: `await start(settings=...)`."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def start(served=None, **options):
            return await stack.enter_async_context(running(served or chain, context, **options))

        yield start
