"""What the tests of faults share: a good client's whole visit, and a gateway that counts what it has open."""

import asyncio
import signal

import pytest

from tests.gateway import packets as p
from tests.gateway.client import PATIENCE, Client, tls_context


async def visit(hub, device_id="good", **options):
    """A device connects, publishes and leaves."""
    client = await hub.join(device_id, **options)
    client.send(p.publish(f"devices/{device_id}/messages/events/", b"good"))
    assert await client.packet() == p.puback()
    client.send(p.DISCONNECT)
    await client.eof()
    client.abort()


async def hello(hub, context=None):
    """A connection that has sent its ClientHello, and nothing else."""
    client = hub._keep(await Client.tcp(hub.gateway.mqtt_port))
    client.wrap(context or hub.context)
    client.raw(client.hello())
    return client


async def refused(hub, context=None):
    """What a TLS client meets instead of a handshake."""
    client = hub._keep(await Client.tcp(hub.gateway.mqtt_port))
    client.wrap(context or hub.context)
    with pytest.raises((OSError, EOFError)) as met:
        await client.handshake()
    return type(met.value)


def inside(hub, device_id):
    """The gateway's end of a device's connection."""
    return next(one for one in hub.gateway._process.server.connections if one.client_id == device_id)


def timers_of(package):
    """The loop's timers that call something of a package."""
    waiting = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
    return [timer for timer in waiting if getattr(timer._callback, "__module__", "").startswith(package)]


async def until(condition):
    """Let the loop turn until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the loop itself is what has to turn
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def guard():
    """No test here waits for ever: reads of raw sockets have no deadline of their own."""

    def ring(number, frame):
        raise TimeoutError("the test waits for something that does not come")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(2 * PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["1.2", "1.3"])
def version(request, chain):
    """A client's context with one version of TLS."""
    return tls_context(chain, versions=(request.param, request.param))
