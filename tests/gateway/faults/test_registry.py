"""Switching faults on and off, and what stays behind: nothing."""

import asyncio

import pytest

from gateway import Settings
from gateway.faults import FaultError
from gateway.faults.line import Front
from tests.gateway import packets as p
from tests.gateway.broker.test_leaks import census, many, over_tls, works
from tests.gateway.client import Client, tls_context
from tests.gateway.faults.conftest import hello, inside, timers_of, until, visit


@pytest.fixture
async def quiet(start, chain):
    """A gateway that says little and keeps few messages."""
    hub = await start(chain.sending(chain.sent[:1]), settings=Settings(inbox_limit=10))
    hub.context = tls_context()
    hub.gateway.log.setLevel("CRITICAL")
    hub.forget_events()
    return hub


async def test_active_tells_what_is_on_oldest_first(hub):
    """Handles come and go; removing one twice, or clearing nothing, does nothing."""
    faults = hub.gateway.faults
    first, second = faults.add("delay", seconds=0.001), faults.add("connack", code=3, client_id="nobody")
    assert faults.active == (first, second)
    assert [one.name for one in faults.active] == ["delay", "connack"]
    faults.remove(first)
    faults.remove(first)
    assert faults.active == (second,)
    faults.clear()
    faults.clear()
    assert faults.active == ()
    assert "Fault is on: connack:code=3,client_id=nobody" in hub.log.getvalue()
    assert "Fault is off: delay:seconds=0.001" in hub.log.getvalue()


async def test_unknown_fault_is_refused_and_nothing_is_switched_on(hub):
    """A mistake is an error with a hint."""
    with pytest.raises(FaultError, match="'dely' does not exist"):
        hub.gateway.faults.add("dely")
    assert hub.gateway.faults.active == ()


async def test_without_a_fault_nothing_stands_between_socket_and_gateway(hub):
    """The transport talks to the connection itself, before, after and beside faults."""
    client = await hub.join()
    connection = inside(hub, "press")
    wire = connection.transport
    assert wire.get_protocol() is connection
    handle = hub.gateway.faults.add("delay", seconds=0)
    assert isinstance(connection.transport, Front)
    hub.gateway.faults.remove(handle)
    hub.gateway.faults.add("reset", client_id="nobody")
    hub.gateway.faults.add("swallow-first-record")
    assert (connection.transport, wire.get_protocol()) == (wire, connection)
    client.send(p.publish())
    assert await client.packet() == p.puback()


async def test_fault_for_the_first_few_connections_leaves_the_later_ones_alone(hub):
    """Two are reset; the third is served as if there were no fault."""
    handle = hub.gateway.faults.add("reset", connections=2)
    for _ in range(2):
        client = await hello(hub)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
    client = await hub.join()
    assert not isinstance(inside(hub, "press").transport, Front)
    assert handle.touched == 2


async def test_fault_at_one_listener_leaves_connections_at_the_other(hub):
    """Open and new connections at 443 go on while those at 8883 are reset."""
    web = hub._keep(await Client.tls(hub.gateway.https_port, hub.context))
    mqtt = await hub.join()
    handle = hub.gateway.faults.add("reset", listener="mqtt")
    with pytest.raises(ConnectionResetError):
        await mqtt.reader.read()
    hub._keep(await Client.tls(hub.gateway.https_port, hub.context))
    web.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await web.rest()).startswith(b"HTTP/1.1 ")
    assert handle.touched == 1


async def test_fault_switched_on_before_the_start_is_there_from_the_start(hub):
    """A gateway that is not running takes faults, and starts with them."""
    await hub.gateway.stop()
    handle = hub.gateway.faults.add("connack", code=3)
    await hub.gateway.start()
    client = await hub.dial()
    client.send(hub.hello())
    assert (await client.packet())[3] == 3
    hub.gateway.faults.remove(handle)
    await visit(hub)


async def test_client_is_recognised_once_it_has_said_who_it_is(hub):
    """A fault for one client lies ready on all that have not spoken, and lets go of the others."""
    handle = hub.gateway.faults.add("reset", client_id="dev1")
    await visit(hub, "dev2")
    client = await hub.dial()
    client.send(hub.hello("dev1"))
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    assert handle.touched == 1


KINDS = {
    "refuse": {},
    "silent": {},
    "swallow-first-record": {},
    "connack": {"code": 3},
    "reset": {"after": 10},
    "half-close": {"after": 10},
    "shutdown": {"since": "handshake"},
    "drop-after": {"after": 300},
    "delay": {"seconds": 0.02},
    "slow": {"bytes_per_second": 100_000},
}
FOR_EVER = {**KINDS, "delay": {"seconds": 3_600}, "slow": {"bytes_per_second": 1}}


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_under_a_fault_leave_nothing(quiet, kind):
    """Clients come, meet the fault and go: no task, timer, descriptor, connection or line of them stays."""

    async def meet():
        try:
            client = await Client.tcp(quiet.gateway.mqtt_port)
        except ConnectionRefusedError:
            return
        client.wrap(quiet.context)
        client.raw(client.hello())
        await quiet.turn()
        client.abort()

    await works(quiet)
    quiet.gateway.faults.add(kind, **KINDS[kind])
    await asyncio.gather(*(meet() for _ in range(20)))
    quiet.gateway.faults.clear()
    await works(quiet)
    before = await census(quiet)
    quiet.gateway.faults.add(kind, **KINDS[kind])
    for _ in range(5):
        await asyncio.gather(*(meet() for _ in range(20)))
    await until(lambda: not quiet.gateway._process.server.connections)
    assert not quiet.gateway.faults._lines
    quiet.gateway.faults.clear()
    assert await census(quiet) == before
    await works(quiet)


@pytest.mark.parametrize("kind", [kind for kind in FOR_EVER if kind not in ("refuse", "connack")])
async def test_gateway_that_stops_under_a_fault_leaves_nothing(quiet, kind):
    """Pending bytes, timers and sockets go when the gateway does, whatever has not been sent yet."""
    await works(quiet)
    clients = [await hello(quiet) for _ in range(10)] + [await quiet.dial() for _ in range(10)]
    quiet.gateway.faults.add(kind, **FOR_EVER[kind])
    clients += [await hello(quiet) for _ in range(10)]
    await quiet.turn()
    await quiet.gateway.stop()
    for client in clients:
        await client.raw_rest()
        client.abort()
    assert not quiet.gateway.faults._lines
    assert timers_of("gateway.faults") == []
    assert len(asyncio.all_tasks()) == 1


async def test_clients_with_another_connack_leave_nothing(quiet):
    """A hundred clients that are told another code, late."""
    quiet.gateway.faults.add("connack", code=2, client_id="bad")
    quiet.gateway.faults.add("delay", seconds=0.001)
    data = quiet.hello("bad")
    await many(quiet, lambda: over_tls(quiet.gateway.mqtt_port, quiet.context, data), 100)
