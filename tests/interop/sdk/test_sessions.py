"""Connections that end and come back: renewal of tokens, restart of the gateway, take-over, a disabled device."""

import time
from dataclasses import replace

import pytest

from gateway import ManualClock
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused
from gateway.hub.auth import TokenFault
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import connack

pytestmark = MARKS

TOKEN_LIFE = 3600  # both SDKs, unless they are told otherwise
REAUTHENTICATION = 300
SKEW = 300  # how long the gateway still takes an expired token
#: the Python SDK renews 120 s before its token expires, so this one is renewed a second after it was made
SOON = {"python": {"options": {"sastoken_ttl": 121}}, "node": {}}
AGAIN = {"python": {"options": {"connection_retry_interval": 1}}, "node": {}}
NOT_AGAIN = {"python": {"options": {"connection_retry": False}}, "node": {}}


async def test_token_is_renewed_over_a_new_connection(room, sdk, transport):
    """To renew its token a client leaves in good order and connects again; its subscriptions are still there."""
    device = await room.open(sdk, transport=transport, **SOON[sdk.name])
    first = await room.event(ClientConnected)
    await device.serve(methods={"reboot": [200, "renewed"]})
    if sdk.name == "node":
        await device.renew(valid=7200, margin=60)
    gone = await room.event(ClientDisconnected)
    second = await room.event(ClientConnected, 2)
    assert (gone.peer, gone.reason) == (first.peer, "DISCONNECT")
    assert second.peer != first.peer
    assert (await room.gateway.invoke_method("dev1", "reboot", connect_timeout=10)).json() == "renewed"
    await device.send(body="after")
    assert (await room.message()).body == b"after"


@pytest.mark.parametrize("late", [SKEW - 60, SKEW + 60], ids=["within-the-skew", "after-the-skew"])
async def test_token_is_judged_by_the_gateways_clock(start, sdk, transport, late):
    """A gateway whose clock is ahead takes a token until five minutes after its expiry, and refuses it later."""
    room = await start(clock=ManualClock(time.time() + TOKEN_LIFE + late))
    device = await room.client(sdk, transport=transport)
    if late < SKEW:
        await device.open()
        return
    with pytest.raises(SdkError) as refused:
        await device.open()
    assert refused.value.chain == connack(sdk, 5)
    assert (await room.event(ConnectionRefused)).reason == TokenFault.EXPIRED


async def test_live_client_survives_a_restart_of_the_gateway(start, sdk, transport, tmp_path):
    """The gateway goes and comes back on its ports; the client delivers again, and what it subscribed to arrives."""
    room = await start(state=tmp_path / "state")
    device = await room.open(sdk, transport=transport, **AGAIN[sdk.name])
    await device.listen()
    await device.serve(methods={"reboot": [200, "restarted"]})
    await device.send(body="before")
    await room.gateway.stop()
    await room.event(ClientDisconnected)
    await room.gateway.start()
    await room.event(ClientConnected, 2)  # both come back by themselves
    await device.send(body="after")
    assert [(await room.message()).body for _ in range(2)] == [b"before", b"after"]
    assert (await room.gateway.invoke_method("dev1", "reboot")).json() == "restarted"
    room.gateway.upstream.commands.send("dev1", b"hello again")
    assert (await device.event("message"))["body"] == "hello again"
    assert (await device.twin())["twin"]["desired"] == {"$version": 1}


async def test_newcomer_takes_over(room, sdk, transport):
    """Of two clients with one identity the newcomer stays; the other is disconnected."""
    old = await room.open(sdk, transport=transport, name="old", **NOT_AGAIN[sdk.name])
    first = await room.event(ClientConnected)
    new = await room.open(sdk, transport=transport, name="new", **NOT_AGAIN[sdk.name])
    gone = await room.event(ClientDisconnected)
    assert gone.peer == first.peer
    assert "Multiple connections" in gone.reason
    if sdk.name == "python":  # the Node.js SDK keeps it to itself until it is wanted again
        await old.event("disconnected")
    await new.send(body="new")
    assert (await room.message()).body == b"new"


async def test_disabled_device_is_refused(room, sdk, transport):
    """A device that is disabled gets CONNACK 5 although its key is right, until the gateway learns otherwise."""
    device = await room.client(sdk, transport=transport)
    registry = room.gateway.registry
    registry.update(replace(registry.get("dev1"), enabled=False))
    with pytest.raises(SdkError) as refused:
        await device.open()
    assert refused.value.chain == connack(sdk, 5)
    assert (await room.event(ConnectionRefused)).reason == "dev1 is disabled"
    registry.update(replace(registry.get("dev1"), enabled=True))
    room.gateway.refresh_scope()
    await device.open()


async def test_device_that_is_disabled_while_it_is_connected_is_dropped(room, sdk, transport):
    """As soon as the gateway learns it."""
    device = await room.open(sdk, transport=transport, **NOT_AGAIN[sdk.name])
    await device.send(body="before")
    registry = room.gateway.registry
    registry.update(replace(registry.get("dev1"), enabled=False))
    room.gateway.refresh_scope()
    assert (await room.event(ClientDisconnected)).client_id == "dev1"
    if sdk.name == "python":
        await device.event("disconnected")


async def test_token_that_expires_while_it_is_connected_ends_the_connection(start, sdk, transport):
    """Five minutes after its expiry it is not good any more; the gateway looks every five minutes."""
    clock = ManualClock(time.time())
    room = await start(clock=clock)
    device = await room.open(sdk, transport=transport, **NOT_AGAIN[sdk.name])
    clock.advance(TOKEN_LIFE + SKEW - 60)
    await device.send(body="late, but in time")
    assert room.of(ClientDisconnected) == []
    clock.advance(60 + REAUTHENTICATION)
    assert (await room.event(ClientDisconnected)).client_id == "dev1"
