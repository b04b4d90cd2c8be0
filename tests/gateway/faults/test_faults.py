"""Each fault against real sockets and TLS: what a client observes, that it ends, and whom it does not touch."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gateway.events import ClientConnected, ConnectionRefused
from gateway.faults.line import Front
from tests.gateway import packets as p
from tests.gateway.client import Client
from tests.gateway.faults.conftest import hello, inside, refused, until, visit


async def first_flight(hub):
    """What the gateway answers to a ClientHello."""
    client = await hello(hub)
    first = await client.reader.read(65_536)
    client.abort()
    return first


async def until_reset(hub):
    """What a client reads behind its ClientHello until ECONNRESET; from the socket itself, which keeps their order."""
    loop, client = asyncio.get_running_loop(), Client(None, None)
    client.wrap(hub.context)
    got = b""
    with socket.socket() as plug:
        plug.setblocking(False)
        await loop.sock_connect(plug, ("127.0.0.1", hub.gateway.mqtt_port))
        await loop.sock_sendall(plug, client.hello())
        with suppress(ConnectionResetError):
            while piece := await loop.sock_recv(plug, 65_536):
                got += piece
            pytest.fail("the connection ended without a reset")
    return got


# -- refuse -----------------------------------------------------------------------------------------------------------


async def test_refuse_is_econnrefused_until_it_is_switched_off(hub):
    """No new connection comes about, an open one goes on, and the port is the same afterwards."""
    port, client = hub.gateway.mqtt_port, await hub.join()
    handle = hub.gateway.faults.add("refuse")
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await Client.tcp(port)
    client.send(p.publish())
    assert await client.packet() == p.puback()
    hub.gateway.faults.remove(handle)
    await visit(hub)
    assert hub.gateway.mqtt_port == port


async def test_refuse_of_one_listener_leaves_the_other(hub):
    """HTTPS answers while MQTT refuses, and the other way round."""
    faults, ports = hub.gateway.faults, (hub.gateway.mqtt_port, hub.gateway.https_port)
    for listener, shut, still in (("mqtt", *ports), ("https", *ports[::-1])):
        faults.add("refuse", listener=listener)
        with pytest.raises(ConnectionRefusedError):
            await Client.tcp(shut)
        hub._keep(await Client.tls(still, hub.context))
        faults.clear()
        hub._keep(await Client.tls(shut, hub.context))


async def test_refuse_twice_is_over_when_both_are_off(hub):
    """Switched on twice, it has to be switched off twice."""
    first, second = hub.gateway.faults.add("refuse"), hub.gateway.faults.add("refuse")
    hub.gateway.faults.remove(first)
    with pytest.raises(ConnectionRefusedError):
        await Client.tcp(hub.gateway.mqtt_port)
    hub.gateway.faults.remove(second)
    await visit(hub)


async def test_refuse_outlives_a_restart_of_the_gateway(hub):
    """What is switched on stays on; the gateway comes back with its door shut."""
    gateway = hub.gateway
    handle = gateway.faults.add("refuse")
    await gateway.stop()
    await gateway.start()
    with pytest.raises(ConnectionRefusedError):
        await Client.tcp(gateway.mqtt_port)
    gateway.faults.remove(handle)
    await visit(hub)


# -- silent, swallow-first-record -------------------------------------------------------------------------------------


async def test_silent_answers_nothing_until_it_is_switched_off(hub):
    """A client waits while another one is served; then the same handshake goes on."""
    handle = hub.gateway.faults.add("silent", connections=1)
    client = hub._keep(await Client.tcp(hub.gateway.mqtt_port))
    client.wrap(hub.context)
    waiting = asyncio.create_task(client.handshake())
    await until(lambda: handle.touched == 1)
    await visit(hub)
    assert not waiting.done()
    hub.gateway.faults.remove(handle)
    await waiting
    client.send(hub.hello())
    assert await client.packet() == b"\x20\x02\x00\x00"


async def test_silent_since_connect_keeps_the_connack(hub):
    """The handshake comes about and CONNECT is taken; its answer comes when the silence ends."""
    handle = hub.gateway.faults.add("silent", client_id="press")
    client = await hub.dial()
    client.send(hub.hello())
    await hub.event(ClientConnected, client_id="press")
    answer = asyncio.create_task(client.packet())
    await visit(hub)
    assert not answer.done()
    hub.gateway.faults.remove(handle)
    assert await answer == b"\x20\x02\x00\x00"


async def test_silent_lets_go_of_a_client_that_leaves(hub):
    """A client that gives up is gone on the gateway's side as well."""
    hub.gateway.faults.add("silent")
    client = await hello(hub)
    server = hub.gateway._process.server
    await until(lambda: len(server.connections) == 1)
    client.abort()
    await until(lambda: not server.connections and not server.closing)
    assert not hub.gateway.faults._lines


@pytest.mark.parametrize("sender", ["client", "gateway"])
async def test_swallowed_record_leaves_a_handshake_hanging(hub, sender):
    """Nothing comes of the first connection, everything of the second; switched off, the first one is reset."""
    handle = hub.gateway.faults.add("swallow-first-record", connections=1, sender=sender)
    client = await hello(hub)
    if sender == "client":
        answer = asyncio.create_task(client.reader.read(1))
        await until(lambda: handle.touched == 1)
        await visit(hub)
        assert not answer.done()
        hub.gateway.faults.remove(handle)
        with pytest.raises(ConnectionResetError):
            await answer
    else:
        first = await client.reader.read(65_536)
        assert first[0] != 22, "the ServerHello, a handshake record, is missing"
        await visit(hub)
        hub.gateway.faults.remove(handle)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
    await visit(hub)


async def test_swallowed_record_is_one_record_to_the_byte(hub):
    """What follows the first record arrives: a whole handshake behind a record of garbage, in whatever pieces."""
    hub.gateway.faults.add("swallow-first-record")
    client = hub._keep(await Client.tcp(hub.gateway.mqtt_port))
    for piece in (b"\x16\x03", b"\x01\x00\x05ab", b"cde"):
        client.raw(piece)
        await client.writer.drain()
        await hub.turn()
    client.wrap(hub.context)
    await client.handshake()
    client.send(hub.hello())
    assert await client.packet() == b"\x20\x02\x00\x00"


# -- connack ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 77])
async def test_connack_has_the_code_of_choice(hub, code):
    """A good CONNECT gets that code, then the end in good order; the gateway tells of it."""
    handle = hub.gateway.faults.add("connack", code=code)
    client = await hub.dial()
    client.send(hub.hello())
    assert await client.packet() == bytes((0x20, 2, 0, code))
    await client.eof()
    event = await hub.event(ConnectionRefused, client_id="press")
    assert (event.code, event.reason) == (code, f"a fault answers CONNACK {code} instead of 0")
    hub.gateway.faults.remove(handle)
    await visit(hub)


async def test_connack_replaces_a_refusal_as_well(hub):
    """A wrong token gets 3 instead of 5."""
    hub.gateway.faults.add("connack", code=3)
    client = await hub.dial()
    client.send(p.connect(password=b"no token"))
    assert await client.packet() == b"\x20\x02\x00\x03"


async def test_connack_is_for_one_client_or_the_first_few(hub):
    """Others, and those that come later, get the right answer."""
    faults = hub.gateway.faults
    faults.add("connack", code=3, client_id="press")
    await visit(hub, "other")
    client = await hub.dial()
    client.send(hub.hello("press"))
    assert (await client.packet())[3] == 3
    faults.clear()
    faults.add("connack", code=2, connections=2)
    for code in (2, 2, 0):
        client = await hub.dial()
        client.send(hub.hello("press"))
        assert (await client.packet())[3] == code


async def test_connack_at_one_listener_leaves_the_other(hub):
    """A fault of the HTTPS listener does nothing at the MQTT one."""
    hub.gateway.faults.add("connack", code=3, listener="https")
    await visit(hub)
    hub.gateway.faults.add("connack", code=4, listener="mqtt")
    client = await hub.dial()
    client.send(hub.hello())
    assert (await client.packet())[3] == 4


# -- reset, half-close, shutdown, drop-after --------------------------------------------------------------------------


async def test_reset_at_accept_is_econnreset(hub):
    """The connection comes about and is reset; a later one is not."""
    handle = hub.gateway.faults.add("reset")
    assert await refused(hub) is ConnectionResetError
    hub.gateway.faults.remove(handle)
    await visit(hub)


async def test_reset_after_bytes_lets_exactly_these_pass(hub):
    """A hundred bytes of the gateway's first flight arrive, then the reset."""
    expected = (await first_flight(hub))[:5]
    hub.gateway.faults.add("reset", after=100, direction="to-client")
    got = await until_reset(hub)
    assert len(got) == 100
    assert got[:5] == expected


async def test_reset_after_the_handshake_comes_behind_the_handshake(hub, version):
    """The client's handshake is complete, with TLS 1.2 too, where the gateway has the last word."""
    hub.gateway.faults.add("reset", since="handshake")
    client = await hub.dial(version)
    with pytest.raises(ConnectionResetError):
        await client.reader.read()


@pytest.mark.parametrize("kind", ["reset", "shutdown", "half-close"])
async def test_fault_of_one_client_among_twenty_touches_it_alone(hub, kind):
    """Nineteen go on without anything between them and the gateway; what is switched on comes to new ones too."""
    clients = {f"dev{number}": await hub.join(f"dev{number}") for number in range(20)}
    handle = hub.gateway.faults.add(kind, client_id="dev7")
    target = clients.pop("dev7")
    if kind == "reset":
        with pytest.raises(ConnectionResetError):
            await target.reader.read()
    else:
        last_words = await target.reader.read()
        assert bool(last_words) == (kind == "shutdown")
    for name, client in clients.items():
        client.send(p.publish(f"devices/{name}/messages/events/"))
        assert await client.packet() == p.puback()
        assert not isinstance(inside(hub, name).transport, Front)
    assert handle.touched == 1
    again = await hub.dial()
    again.send(hub.hello("dev7"))
    assert await again.rest() == (b"\x20\x02\x00\x00" if kind == "shutdown" else b"")
    assert handle.touched == 2
    hub.gateway.faults.remove(handle)
    target.abort()
    await until(lambda: not hub.gateway._process.server.closing)
    await visit(hub, "dev7")


async def test_half_close_ends_one_way_alone(hub):
    """The client reads the end without close_notify; what it sends still arrives; switched off, the rest ends too."""
    client = await hub.join()
    handle = hub.gateway.faults.add("half-close")
    assert await client.reader.read() == b""
    client.send(p.publish(body=b"still heard"))
    assert (await hub.gateway.upstream.inbox.next_message()).body == b"still heard"
    connection = inside(hub, "press")
    hub.gateway.faults.remove(handle)
    await until(lambda: connection not in hub.gateway._process.server.closing | hub.gateway._process.server.connections)
    await visit(hub)


async def test_half_close_after_bytes_lets_exactly_these_pass(hub):
    """Sixty bytes and the end."""
    hub.gateway.faults.add("half-close", after=60, direction="to-client")
    client = await hello(hub)
    assert len(await client.raw_rest()) == 60


async def test_shutdown_says_close_notify(hub):
    """A client reads TLS's own end, and nothing before it."""
    client = await hub.join()
    hub.gateway.faults.add("shutdown")
    client._in.write(await client.raw_rest())
    assert client.ssl.read() == b"", "without close_notify it would want to read more"


async def test_drop_after_to_the_client_loses_the_rest(hub):
    """Two hundred bytes arrive, no more do, and nothing ends; the connection cannot be mended and is reset."""
    handle = hub.gateway.faults.add("drop-after", after=200, direction="to-client", connections=1)
    client = await hello(hub)
    assert len(await client.reader.readexactly(200)) == 200
    more = asyncio.create_task(client.reader.read(1))
    await visit(hub)
    assert not more.done()
    hub.gateway.faults.remove(handle)
    with pytest.raises(ConnectionResetError):
        await more


async def test_drop_after_to_the_gateway_lets_the_rest_go_unheard(hub):
    """A client whose bytes get lost still hears the gateway."""
    client = await hub.join()
    first = client.records(p.publish(body=b"heard"))
    handle = hub.gateway.faults.add("drop-after", after=len(first), direction="to-gateway", client_id="press")
    client.raw(first)
    assert await client.packet() == p.puback()
    client.raw(client.records(p.publish(body=b"lost", packet_id=2)))
    await client.writer.drain()
    hub.gateway.upstream.twins.update_desired("press", {"fan": 1})
    await visit(hub)
    bodies = [(await hub.gateway.upstream.inbox.next_message()).body for _ in range(2)]
    assert bodies == [b"heard", b"good"]
    hub.gateway.faults.remove(handle)
    with pytest.raises(ConnectionResetError):
        await client.reader.read()


@pytest.mark.parametrize("after", [0, 1, 300])
async def test_drop_after_with_cut_closes_behind_these_bytes(hub, after):
    """So many bytes and the end."""
    hub.gateway.faults.add("drop-after", after=after, direction="to-client", cut=True)
    client = await Client.tcp(hub.gateway.mqtt_port)
    client.wrap(hub.context)
    if after:
        client.raw(client.hello())
    assert len(await client.raw_rest()) == after
    client.abort()


# -- delay, slow, and several at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "given"), [("delay", {"seconds": 3600}), ("slow", {"bytes_per_second": 1})])
async def test_late_bytes_arrive_in_order_when_it_is_switched_off(hub, kind, given):
    """Nothing arrives while others are served; then everything does, each way, in its order."""
    client = await hub.join()
    handle = hub.gateway.faults.add(kind, client_id="press", **given)
    client.send(*(p.publish(body=b"%d" % number, packet_id=number) for number in range(1, 51)))
    await until(lambda: next(iter(hub.gateway.faults._lines))._held["to-gateway"] > 0)
    await visit(hub)
    assert [message.body for message in hub.gateway.upstream.inbox.messages] == [b"good"]
    hub.gateway.faults.remove(handle)
    assert await client.packets(50) == [p.puback(number) for number in range(1, 51)]
    bodies = [message.body for message in hub.gateway.upstream.inbox.messages][1:]
    assert bodies == [b"%d" % number for number in range(1, 51)]
    assert not isinstance(inside(hub, "press").transport, Front)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("delay", {"seconds": 0.005, "jitter": 0.005, "seed": 1}),
        ("delay", {"seconds": 0.01, "direction": "to-client"}),
        ("slow", {"bytes_per_second": 50_000}),
    ],
)
async def test_late_bytes_make_a_whole_visit(hub, version, kind, given):
    """Handshake, CONNECT, fifty messages and the end in good order, with nothing lost and nothing overtaken."""
    hub.gateway.faults.add(kind, **given)
    client = await hub.join(context=version)
    client.send(*(p.publish(body=b"%d" % number, packet_id=number) for number in range(1, 51)))
    assert await client.packets(50) == [p.puback(number) for number in range(1, 51)]
    client.send(p.DISCONNECT)
    client._in.write(await client.raw_rest())
    assert client.ssl.read() == b"", "without close_notify it would want to read more"


@pytest.mark.parametrize("order", [("delay", "drop-after"), ("drop-after", "delay")])
async def test_delay_and_drop_after_together(hub, order):
    """The end comes as late as the bytes before it, in whichever order they were switched on."""
    given = {"delay": {"seconds": 0.02}, "drop-after": {"after": 200, "direction": "to-client", "cut": True}}
    for name in order:
        hub.gateway.faults.add(name, **given[name])
    client = await hello(hub)
    assert len(await client.raw_rest()) == 200
    hub.gateway.faults.clear()
    await visit(hub)


async def test_delay_keeps_little_of_a_client_that_floods(hub):
    """Its socket fills instead; nothing is lost when the delay ends."""
    client = await hub.join()
    handle = hub.gateway.faults.add("delay", seconds=3600, direction="to-gateway")
    line = next(iter(hub.gateway.faults._lines))
    body = bytes(100_000)
    for number in range(1, 41):
        client.send(p.publish(body=body, packet_id=number))
    await until(lambda: not line._wire.is_reading())
    assert line._held["to-gateway"] < 500_000
    hub.gateway.faults.remove(handle)
    assert await client.packets(40) == [p.puback(number) for number in range(1, 41)]


async def test_delay_makes_the_gateway_wait_as_a_slow_reader_does(hub):
    """What it cannot send counts as unread: it stops reading, and goes on when the delay ends."""
    hub.gateway.connection_string("press")
    hub.gateway.upstream.twins.update_desired("press", {f"p{number}": "x" * 4_000 for number in range(7)})
    client = await hub.join()
    handle = hub.gateway.faults.add("delay", seconds=3600, direction="to-client", client_id="press")
    connection = inside(hub, "press")
    client.send(*(p.publish(f"$iothub/twin/GET/?$rid={number}", b"", qos=0) for number in range(6)))
    await until(lambda: not connection.writable)
    client.send(p.publish(body=b"not read yet"))
    await visit(hub)
    assert [message.body for message in hub.gateway.upstream.inbox.messages] == [b"good"]
    hub.gateway.faults.remove(handle)
    answers = [p.read_publish(await client.packet())[0] for _ in range(6)]
    assert answers == [f"$iothub/twin/res/200/?$rid={number}" for number in range(6)]
    assert await client.packet() == p.puback()
    assert connection.writable
