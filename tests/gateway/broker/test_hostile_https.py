"""Hostile clients of the HTTPS port: random bytes in requests and frames, readers that do not read, floods, leaks."""

import asyncio
import random

import pytest

from gateway import Settings
from gateway.events import ClientDisconnected
from tests.gateway import packets as p
from tests.gateway import webclient as w
from tests.gateway.broker.test_leaks import census, settled
from tests.gateway.client import Client

TOPIC = "devices/press/messages/events/"
SEEDS = range(12)


def damaged(data, dice):
    """Some bytes changed, left out, doubled or put in."""
    data = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(data))
        match dice.randrange(4):
            case 0:
                data[place] = dice.randrange(256)
            case 1:
                del data[place : place + dice.randint(1, 9)]
            case 2:
                data[place:place] = data[place : place + dice.randint(1, 40)]
            case 3:
                data[place:place] = dice.randbytes(dice.randint(1, 9))
        data = data or bytearray(b"x")
    return bytes(data)


async def still_works(hub):
    """A good client connects, publishes and gets its answer; nothing has been raised into the loop."""
    web = await hub.join_web("good")
    web.send(w.binary(p.publish("devices/good/messages/events/", b"fine")))
    assert await web.packet() == p.puback()
    web.abort()


async def some_turns():
    """Let the loop read, answer and write."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def watched(hub):
    """A hub; whatever reaches the loop's exception handler meanwhile fails the test."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield hub
    assert found == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_damaged_requests_do_no_harm(watched, seed):
    """Requests and upgrades with random damage, in random pieces: answered or ended, never an exception."""
    dice = random.Random(seed)
    good = [
        w.upgrade(),
        w.request("POST", "/twins/press/methods", b"{}", headers=[("Content-Type", "application/json")]),
        w.request("POST", "/devices/press/files", headers=[("Transfer-Encoding", "chunked")])
        + b"3\r\nabc\r\n0\r\n\r\n",
    ]
    for _ in range(8):
        web = await watched.web()
        data = damaged(dice.choice(good), dice)
        cut = dice.randrange(1, len(data) + 1)
        web.send(data[:cut], data[cut:] or b"\r\n")
        web.client.raw(web.client.close_notify())
        await web.rest()
        web.abort()
    await still_works(watched)


@pytest.mark.parametrize("seed", SEEDS)
async def test_damaged_frames_do_no_harm(watched, seed):
    """Frames with random damage, in random pieces: the session ends or lives on, never an exception."""
    dice = random.Random(seed)
    for _ in range(4):
        web = await watched.join_web()
        parts = [
            w.binary(p.publish(TOPIC, dice.randbytes(dice.randrange(300)))),
            w.frame(w.PING, b"x"),
            w.frame(w.BINARY, p.PINGREQ[:1], final=False),
            w.frame(w.CONTINUATION, p.PINGREQ[1:]),
            w.frame(w.CLOSE, b"\x03\xe8"),
        ]
        data = damaged(b"".join(dice.choices(parts, k=6)), dice)
        cut = dice.randrange(1, len(data) + 1)
        web.send(data[:cut], data[cut:] or b"\x82")
        web.client.raw(web.client.close_notify())
        await web.rest()
        web.abort()
    await still_works(watched)


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_frames_do_no_harm(watched, seed):
    """Well-formed frames of random kinds with random contents, before and after CONNECT."""
    dice = random.Random(seed)
    for open_web in (watched.websocket, watched.join_web):
        web = await open_web()
        for _ in range(dice.randint(1, 12)):
            final, reserved = dice.random() < 0.9, 0x40 * (dice.random() < 0.05)
            kind = dice.choice([0, 2, 2, 2, 2, 1, 8, 9, 10, 15])
            web.send(w.frame(kind, dice.randbytes(dice.randrange(200)), final=final, reserved=reserved))
        web.client.raw(web.client.close_notify())
        await web.rest()
        web.abort()
    await still_works(watched)


async def test_client_that_does_not_read_pongs_is_held_back(hub):
    """Pings are no longer read once its answers pile up; when it reads, every pong comes."""
    web = await hub.websocket(dialled={"receive_buffer": 4096})
    (connection,) = hub.gateway._process.server.connections
    transport = connection._transport
    sent = 0
    while transport.is_reading():
        web.send(*[w.frame(w.PING, number.to_bytes(4, "big") * 30) for number in range(sent, sent + 100)])
        sent += 100
        await some_turns()
    assert transport.get_write_buffer_size() < 3 * 65_536
    for number in range(sent):
        assert await web.frame() == (w.PONG, number.to_bytes(4, "big") * 30)
    assert transport.is_reading()
    await still_works(hub)


async def test_slow_reader_does_not_hold_others_up(hub):
    """While one client's pongs wait, another one publishes over WebSocket and a third on 8883."""
    slow = await hub.websocket(dialled={"receive_buffer": 4096})
    slow.send(w.binary(hub.hello("slow")))
    (connection,) = hub.gateway._process.server.connections
    ping = w.frame(w.PING, b"x" * 125)
    while connection._transport.is_reading():
        slow.send(ping * 100)
        await some_turns()
    await still_works(hub)
    other = await hub.join("other")
    other.send(p.publish("devices/other/messages/events/"))
    assert await other.packet() == p.puback()


async def test_frame_that_never_ends_is_bounded(start):
    """A frame's announced length is no reason to keep more than the limit; the rest of it comes to nothing."""
    hub = await start(settings=Settings(max_packet_size=10_000))
    web = await hub.join_web()
    web.send(w.frame(w.BINARY, b"x" * 1000, length=20_000))
    web.send(b"x" * 18_999)
    web.send(w.frame(w.PING))  # the frame's last byte and more
    assert (await web.frame())[0] == w.CLOSE
    gone = await hub.event(ClientDisconnected, client_id="press")
    assert gone.reason == "malformed packet: a packet of type 7 with flags 1000"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02 no http",
        b"GET / HTTP/1.1\r\nHost:",
        w.request(),
        w.upgrade(protocol="soap"),
        w.upgrade(),
        w.upgrade() + w.frame(w.BINARY, b"x", mask=None),
        w.upgrade() + w.frame(w.TEXT, b"x"),
        w.upgrade() + w.binary(b"\x00\x00"),
        w.upgrade() + w.frame(w.BINARY, b"x", length=500_000),
    ],
)
async def test_nothing_stays_behind(hub, data):
    """Sixty of each bad beginning: no task, descriptor, connection, session or timer is left."""

    async def once():
        client = await Client.tls(hub.gateway.https_port, hub.context)
        client.send(data)
        client.raw(client.close_notify())
        await client.rest()
        client.abort()

    await once()
    await settled(hub)
    before = await census(hub)
    for _ in range(3):
        await asyncio.gather(*(once() for _ in range(20)))
    assert await census(hub) == before
