"""A thousand of each bad input against one gateway: nothing stays behind, and a good client still works."""

import asyncio
import gc
import ssl
import tracemalloc
from pathlib import Path

import pytest

import gateway
from gateway import Settings
from tests.gateway import packets as p
from tests.gateway.client import Client, descriptor_count, tls_context

AT_ONCE = 25


async def over_tcp(port, data, *, wait=True):
    """Send bytes without TLS and close; `wait` for the gateway to close first."""
    client = await Client.tcp(port)
    if data:
        client.raw(data)
    if wait:
        await client.raw_rest()
    client.abort()


async def over_tls(port, context, data):
    """Send a packet over TLS and wait until the gateway closes."""
    client = await Client.tls(port, context)
    client.send(data)
    await client.rest()
    client.abort()


async def settled(hub):
    """Let the loop turn until every connection of the gateway is gone."""
    server = hub.gateway._process.server
    for _ in range(10_000):
        if not server.connections and not server.closing:
            break
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()


async def census(hub):
    """Tasks, descriptors, connections and sessions."""
    await settled(hub)
    server = hub.gateway._process.server
    return {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": descriptor_count(),
        "connections": len(server.connections) + len(server.closing),
        "sessions": len(server.sessions._broker._sessions),
        "timers": sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled),
    }


async def works(hub):
    """A good client connects, publishes and leaves."""
    client = await hub.join("good")
    client.send(p.publish(body=b"good"))
    assert await client.packet() == p.puback()
    client.send(p.DISCONNECT)
    await client.eof()
    client.abort()


@pytest.fixture
async def quiet(start, chain):
    """A gateway that says little, keeps few messages and sends one certificate: handshakes are what takes the time."""
    hub = await start(chain.sending(chain.sent[:1]), settings=Settings(inbox_limit=10))
    hub.context = tls_context()
    hub.gateway.log.setLevel("CRITICAL")
    hub.forget_events()
    return hub


async def many(hub, attack, times):
    """Run the attack that often and compare before and after."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    await works(hub)
    await attack()
    before = await census(hub)
    for _ in range(times // AT_ONCE):
        await asyncio.gather(*(attack() for _ in range(AT_ONCE)))
    assert await census(hub) == before
    assert failures == []
    await works(hub)


def hello():
    """A ClientHello."""
    client = Client(None, None)
    client.wrap(tls_context())
    return client.hello()


RAW = {
    "connect and close": (b"", False),
    "one byte and close": (b"\x16", False),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
    "garbage": (b"\xde\xad\xbe\xef" * 32, True),
    "plain mqtt": (p.connect(), True),
    "record that is too long": (b"\x16\3\1\xff\xff" + b"x" * 64, True),
    "empty records": (b"\x16\3\1\0\0" * 64, True),
    "half a hello": (hello()[:100], False),
    "hello and close": (hello(), False),
    "hello and garbage": (hello() + b"\x16\3\3\0\4\xff\xff\xff\xff", True),
}


@pytest.mark.parametrize("kind", RAW)
async def test_bad_bytes_without_tls_leave_nothing(quiet, kind):
    """Whatever comes before TLS is up, answered or left hanging by the peer."""
    data, wait = RAW[kind]
    await many(quiet, lambda: over_tcp(quiet.gateway.mqtt_port, data, wait=wait), 1_000)


@pytest.mark.parametrize("sent", [b"", hello()[:100], hello()], ids=["silence", "half a hello", "hello"])
async def test_clients_without_connect_leave_nothing_after_the_deadline(quiet, sent):
    """Connections that are just held open, in the middle of the handshake too, until their time is up."""

    async def hold():
        clients = [await Client.tcp(quiet.gateway.mqtt_port) for _ in range(50)]
        for client in clients:
            client.raw(sent)
        await works(quiet)  # all are accepted and read by now
        quiet.clock.elapse(60)
        for client in clients:
            await client.raw_rest()
            client.abort()

    await works(quiet)
    await hold()
    before = await census(quiet)
    for _ in range(20):
        await hold()
    assert await census(quiet) == before


PACKETS = {
    "truncated connect": (1_000, p.packet(0x10, p.connect()[2:20])),
    "oversized header": (1_000, b"\x10\xff\xff\xff\x7f"),
    "wrong level": (1_000, p.connect(level=5)),
    "invalid utf-8": (1_000, p.connect(b"\xff\xfe")),
    "connect twice": (1_000, None),
    "garbage": (100, b"\xff" * 64),
    "wrong name": (100, p.connect(name="MQIsdp", level=3)),
    "publish first": (100, p.publish()),
    "bad password": (100, p.connect(password=b"bad", clean=False)),
    "bad publish": (100, None),
    "quality of service 2 with a will": (100, None),
}


@pytest.mark.parametrize("kind", PACKETS)
async def test_bad_packets_leave_nothing(quiet, kind):
    """Refused, malformed and broken-off sessions."""
    times, data = PACKETS[kind]
    if kind == "connect twice":
        data = quiet.hello("bad") * 2
    elif kind == "bad publish":
        data = quiet.hello("bad") + p.publish("\0")
    elif kind.startswith("quality"):
        data = quiet.hello("bad", will=("devices/x/messages/events/", b"w")) + p.publish(qos=2)
    await many(quiet, lambda: over_tls(quiet.gateway.mqtt_port, quiet.context, data), times)


async def test_clients_that_refuse_the_certificate_leave_nothing(quiet, chain):
    """The client ends the handshake with its alert."""
    context = tls_context(chain)

    async def refuse():
        with pytest.raises(ssl.SSLCertVerificationError):
            await Client.tls(quiet.gateway.mqtt_port, context, server_name="other.example")

    await many(quiet, refuse, 100)


async def test_take_overs_leave_nothing(quiet):
    """A device that connects again and again while it is connected: no session and no subscription is left over."""
    context, packet = quiet.context, quiet.hello("bad", clean=True)

    async def twice():
        first = await Client.tls(quiet.gateway.mqtt_port, context)
        first.send(packet + p.subscribe(("#", 1)))
        await first.packet()
        second = await Client.tls(quiet.gateway.mqtt_port, context)
        second.send(packet + p.DISCONNECT)
        await second.rest()
        first.abort()
        second.abort()

    await works(quiet)
    await twice()
    before = await census(quiet)
    for _ in range(100):
        await twice()
    assert await census(quiet) == before
    assert quiet.gateway._process.server.sessions._broker._subscriptions == {}
    await works(quiet)


async def test_memory_does_not_grow_with_bad_clients(quiet):
    """What the gateway's own code has allocated after 600 clients grows by no 100 bytes per client with 300 more.

    The first ones fill what the interpreter keeps for a while, pieces of log lines above all: 20,000 bytes and more.
    """
    data, root = quiet.hello("bad") * 2, Path(gateway.__file__).parent

    async def held(rounds):
        for _ in range(rounds):
            await asyncio.gather(*(over_tls(quiet.gateway.mqtt_port, quiet.context, data) for _ in range(AT_ONCE)))
        await settled(quiet)
        quiet.log.seek(0)  # the log that the test keeps is no growth of the gateway
        quiet.log.truncate()
        traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{root}/*")])
        return sum(trace.size for trace in traces.traces)

    tracemalloc.start()
    try:
        first, second = await held(24), await held(12)
    finally:
        tracemalloc.stop()
    assert first > 0
    assert second - first < 30_000
