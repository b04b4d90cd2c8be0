"""Deadlines on the injected clock, and clients that do not read."""

import asyncio
import socket
import tracemalloc

import pytest

from gateway import Settings, SystemClock
from gateway.events import ClientDisconnected, ConnectionRefused, HandshakeFailed
from tests.gateway import packets as p
from tests.gateway.client import tls_context


@pytest.mark.parametrize("stage", ["tcp", "half a hello", "tls", "half a connect"])
async def test_client_without_connect_is_closed_at_the_deadline(hub, context, stage):
    """60 s from the accept, however far it got and although bytes trickle in; a moment earlier it is still there."""
    client = await (hub.tcp() if stage in ("tcp", "half a hello") else hub.dial())
    if stage == "half a hello":
        client.wrap(context)
        client.raw(client.hello()[:50])
    elif stage == "half a connect":
        for byte in hub.hello()[:20]:
            hub.clock.elapse(1)
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        hub.clock.elapse(-20)
    other = await hub.join("other")  # by then the gateway has accepted the client as well
    hub.clock.elapse(59.9)
    other.send(p.PINGREQ)
    assert await other.packet() == p.PINGRESP
    assert not client.reader.at_eof()
    hub.clock.elapse(0.1)
    event = await hub.event(ConnectionRefused, peer=client.peer)
    assert (event.code, event.reason) == (None, "Connection timed out on waiting for CONNECT")
    if stage in ("tcp", "half a hello"):
        assert await client.raw_rest() == b""
    else:
        await client.eof()
    assert hub.of(HandshakeFailed) == []


async def test_connect_deadline_is_a_setting(start):
    """A shorter deadline counts, measured on the gateway's clock."""
    hub = await start(settings=Settings(connect_timeout=5))
    client = await hub.dial()
    hub.clock.elapse(5)
    await client.eof()


@pytest.mark.parametrize(
    ("keep_alive", "patience"), [(2, 3), (60, 90), (1, 1.5), (399, 598.5), (400, 600), (65_535, 600), (0, 600)]
)
async def test_silent_client_is_closed_after_one_and_a_half_keep_alives(hub, keep_alive, patience):
    """1.5 x keep-alive, 600 s at most and for keep-alive 0; the session ends in the product's words."""
    client = await hub.join(keep_alive=keep_alive)
    hub.clock.elapse(patience - 0.1)
    probe = await hub.tcp()
    probe.raw(b"GET / HTTP/1.1\r\n\r\n")
    await hub.event(HandshakeFailed, peer=probe.peer)  # the sweep has passed
    assert hub.of(ClientDisconnected) == []
    hub.clock.elapse(0.1)
    await client.eof()
    assert (await hub.event(ClientDisconnected)).reason == "Keep Alive timed out."
    line = "[WRN] - Closing connection for device: press, ProtocolGatewayException: Keep Alive timed out., "
    assert line in hub.log.getvalue()


@pytest.mark.parametrize(
    "packet", [p.PINGREQ, p.publish(qos=0), p.puback(9), p.subscribe(("a", 0)), p.unsubscribe("a")]
)
async def test_any_packet_keeps_a_client_alive(hub, packet):
    """Every whole packet starts the time anew (MQTT 3.1.2.10)."""
    client, other = await hub.join(keep_alive=2), await hub.join("other", keep_alive=0)
    for _ in range(5):
        hub.clock.elapse(2.5)
        client.send(packet)
        other.send(p.PINGREQ)
        assert await other.packet() == p.PINGRESP
    assert hub.of(ClientDisconnected) == []
    hub.clock.elapse(3)
    await client.rest()
    assert (await hub.event(ClientDisconnected)).reason == "Keep Alive timed out."


async def test_pieces_of_a_packet_keep_nobody_alive(hub):
    """A client that sends one byte now and then and never a whole packet is closed."""
    client = await hub.join(keep_alive=2)
    other = await hub.join("other", keep_alive=100)
    for byte in p.publish(body=bytes(100))[:4]:
        client.send(bytes((byte,)))
        other.send(p.PINGREQ)
        await other.packet()
        hub.clock.elapse(0.7)
    hub.clock.elapse(0.3)
    await client.eof()
    assert (await hub.event(ClientDisconnected)).reason == "Keep Alive timed out."


async def test_travelling_in_time_closes_nobody(hub):
    """advance() moves the hour of day alone: clients with and without CONNECT stay, a year forth and back."""
    client, waiting = await hub.dial(), await hub.dial()
    client.send(p.connect(password=hub.password(ttl=10**9), keep_alive=1))
    assert await client.packet() == b"\x20\x02\0\0"
    for seconds in (365 * 86_400, -365 * 86_400):
        hub.clock.advance(seconds)
        client.send(p.PINGREQ)
        assert await client.packet() == p.PINGRESP
    waiting.send(hub.hello("other"))
    assert await waiting.packet() == b"\x20\x02\0\0"


async def test_deadlines_pass_on_the_real_clock_too(start):
    """Without a manual clock the gateway looks by itself, once a second."""
    hub = await start(clock=SystemClock(), settings=Settings(connect_timeout=0.01))
    client = await hub.tcp()
    assert await client.raw_rest() == b""
    assert hub.of(ConnectionRefused)[0].reason == "Connection timed out on waiting for CONNECT"


async def test_will_is_sent_when_keep_alive_runs_out(hub):
    """Silence is no DISCONNECT."""
    await hub.join(keep_alive=10, will=("devices/press/messages/events/", b"silent"))
    hub.clock.elapse(15)
    message = await hub.gateway.upstream.inbox.next_message(timeout=10)
    assert (message.body, message.properties) == (b"silent", {"MessageType": "Will"})


async def flood(hub, deaf, good):
    """PUBLISH without ever reading until the gateway reads no more from `deaf`; returns how many packets that took."""
    (connection,) = (one for one in hub.gateway._process.server.connections if one.client_id == "deaf")
    # the kernel's own 4 MiB would take most of a million PUBACKs to fill
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    packet, sent = p.publish("devices//messages/events", b"") * 500, 0
    while sent < 500_000:
        while connection._transport.is_reading() and sent < 500_000:
            if deaf.writer.transport.get_write_buffer_size() < 65_536:
                deaf.send(packet)
                sent += 500
            await asyncio.sleep(0)
        good.send(p.PINGREQ)
        assert await good.packet() == p.PINGRESP
        if not connection._transport.is_reading():  # and it stays so
            break
    return sent


@pytest.mark.parametrize("end", ["reset", "keep-alive", "stop"])
async def test_client_that_never_reads_is_held_back_alone(start, end):
    """Its PUBACKs fill its socket and one buffer, then nothing is read from it; others work; nothing stays behind."""
    hub = await start(settings=Settings(inbox_limit=10))
    deaf = await hub.join("deaf", dialled={"receive_buffer": 4096}, keep_alive=10)
    good = await hub.join("good", keep_alive=0)
    tracemalloc.start()
    sent = await flood(hub, deaf, good)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent < 500_000, "two megabytes of PUBACKs went somewhere"
    assert held < 4 * 1024 * 1024
    good.send(p.publish(body=b"x"))
    assert await good.packet() == p.puback()
    server = hub.gateway._process.server
    if end == "reset":
        deaf.reset()
        await hub.event(ClientDisconnected, client_id="deaf")
    elif end == "keep-alive":
        hub.clock.elapse(15)
        assert (await hub.event(ClientDisconnected, client_id="deaf")).reason == "Keep Alive timed out."
        assert len(server.closing) == 1
    else:
        await hub.gateway.stop()
        assert (server.connections, server.closing) == (set(), set())
        return
    good.send(p.PINGREQ)
    assert await good.packet() == p.PINGRESP
    assert [one.client_id for one in server.connections] == ["good"]


async def test_client_that_reads_late_gets_every_puback(hub):
    """Held back is not cut off: what was held comes in order once the client reads."""
    client = await hub.join("late", dialled={"receive_buffer": 4096})
    count = 60_000
    stream = [p.publish("devices//messages/events", b"", packet_id=one + 1) for one in range(count)]
    for at in range(0, count, 1_000):
        client.send(b"".join(stream[at : at + 1_000]))
    assert await client.packets(count) == [p.puback(one + 1) for one in range(count)]


async def test_long_topics_are_not_remembered(hub):
    """Topics are remembered to save work, but 4,096 of 64 KiB would be a quarter of a gigabyte: only short ones are."""
    client = await hub.join()
    for one in range(20):
        client.send(p.publish("devices/press/messages/events/a=" + f"{one:0{300 * (one + 1)}}"))
        await client.packet()
    remembered = hub.gateway._process.server._telemetry
    assert len(remembered) == 1
    assert [len(one.properties["a"]) for one in hub.gateway.upstream.inbox.messages] == [
        300 * (one + 1) for one in range(20)
    ]


async def test_topics_of_many_clients_do_not_mix(hub):
    """More different topics than the gateway remembers at once: each message keeps its own properties."""
    client = await hub.join(context=tls_context())
    numbers = [*range(5_000), *range(100)]
    for at in range(0, len(numbers), 100):
        part = numbers[at : at + 100]
        client.send(b"".join(p.publish(f"devices/press/messages/events/n={one}", str(one).encode()) for one in part))
        await client.packets(len(part))
    messages = hub.gateway.upstream.inbox.messages
    assert [one.body.decode() for one in messages] == [one.properties["n"] for one in messages] == [*map(str, numbers)]
