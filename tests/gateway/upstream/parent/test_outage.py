"""The parent goes away and comes back: the child lives on by itself, and catches up."""

import asyncio
import json
import socket

from gateway import Settings
from gateway.events import ClientDisconnected
from gateway.hub.twin import TwinError
from tests.gateway import packets as p
from tests.gateway.client import descriptor_count
from tests.gateway.upstream.parent.conftest import telemetry
from tests.gateway.upstream.parent.test_nested import DESIRED, RESPONSES, connected, listener, subscriptions


async def fall(plant, hub, child):
    """Edge Hub of a gateway exits; what listened is closed, its ports stay taken."""
    await hub.gateway.exit()
    await plant.until(lambda: not child.gateway.parent.reachable)


async def rise(plant, hub, child):
    """It starts again, and enough time passes for the next attempt."""
    await hub.gateway.boot()
    child.clock.advance(61)
    await plant.until(lambda: child.gateway.parent.reachable)


async def test_child_stores_while_the_parent_is_away_and_forwards_in_order_when_it_is_back(plant):
    """PUBACKs go on; a device that is known connects; at the top everything arrives once and in order."""
    top = await plant.start()
    plant.register("edge2")
    plant.leaf("press", "edge2")
    plant.leaf("oven", "edge2")
    child = await plant.below("edge2", connection=top.gateway.connection_string("edge2"))
    leaf = await child.join()
    leaf.send(telemetry("press", b"0"))
    assert await leaf.packet() == p.puback()
    inbox = top.gateway.upstream.inbox
    assert (await inbox.next_message(timeout=20)).body == b"0"

    await fall(plant, top, child)
    for number in range(1, 151):
        leaf.send(telemetry("press", str(number).encode(), packet_id=number))
    assert await leaf.packets(150) == [p.puback(number) for number in range(1, 151)]
    late = await child.join("oven")
    late.send(telemetry("oven", b"late"))
    assert await late.packet() == p.puback()
    assert len(inbox) == 1

    await rise(plant, top, child)
    bodies = [(await inbox.next_message("press", timeout=20)).body for _ in range(150)]
    assert bodies == [str(number).encode() for number in range(1, 151)]
    assert (await inbox.next_message("oven", timeout=20)).body == b"late"
    assert [inbox.take(name) for name in ("press", "oven")] == [None, None]
    assert "Entering disconnected state" in child.log.getvalue()
    assert child.log.getvalue().count("Exiting disconnected state") == 2


async def test_child_restarts_while_the_parent_is_away(plant, tmp_path):
    """With a state folder, messages and known devices outlive the child's own restart without its parent."""
    top = await plant.start()
    connection = plant.register("edge2")
    plant.leaf("press", "edge2")
    child = await plant.below("edge2", connection=connection, state=tmp_path)
    await fall(plant, top, child)
    leaf = await child.join()
    leaf.send(telemetry("press", b"before"))
    assert await leaf.packet() == p.puback()
    address = ("127.0.0.1", top.gateway.mqtt_port, top.gateway.https_port)
    await child.close()

    again = await plant.below("edge2", connection=connection, state=tmp_path, online=False, parent_address=address)
    leaf = await again.join()
    leaf.send(telemetry("press", b"after"))
    assert await leaf.packet() == p.puback()
    await rise(plant, top, again)
    inbox = top.gateway.upstream.inbox
    assert [(await inbox.next_message("press", timeout=20)).body for _ in range(2)] == [b"before", b"after"]


async def test_twin_is_answered_from_the_child_and_caught_up_with(plant):
    """GET has what was seen last, a reported change goes up later, a missed desired change comes down."""
    top = await plant.start()
    plant.register("edge2")
    plant.leaf("press", "edge2")
    child = await plant.below(
        "edge2", connection=top.gateway.connection_string("edge2"), settings=Settings(min_twin_sync_period=0)
    )
    twins = top.gateway.upstream.twins
    twins.update_desired("press", {"speed": 5})
    leaf = await listener(child, RESPONSES, DESIRED, qos=0)
    leaf.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    seen = p.read_publish(await leaf.packet())[2]

    await fall(plant, top, child)
    twins.update_desired("press", {"speed": 7})
    leaf.send(p.publish("$iothub/twin/GET/?$rid=2", b"", qos=0))
    assert p.read_publish(await leaf.packet())[2] == seen
    leaf.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=3", b'{"heat":21}', qos=0))
    assert p.read_publish(await leaf.packet())[0] == "$iothub/twin/res/204/?$rid=3"
    child.clock.elapse(5)
    assert twins.get("press").reported == {}

    await rise(plant, top, child)
    topic, _, body = p.read_publish(await leaf.packet())
    assert topic == "$iothub/twin/PATCH/properties/desired/?$version=3"
    assert json.loads(body) == {"speed": 7, "$version": 3}
    child.clock.elapse(5)  # the parent, too, sends changes up once in five seconds
    await plant.until(lambda: twins.get("press").reported == {"heat": 21})


async def test_subscriptions_are_made_again_at_the_parent(plant):
    """After an outage the parent knows again what the leaf takes."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    await listener(child, DESIRED)
    await plant.until(lambda: DESIRED in subscriptions(top, "press"))
    await fall(plant, top, child)
    await rise(plant, top, child)
    await plant.until(lambda: DESIRED in subscriptions(top, "press"))


async def test_line_without_acknowledgements_is_given_up_and_the_message_sent_again(plant):
    """A parent that takes a message and says nothing: after 30 seconds the leaf's connection is made anew."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await child.join()
    await plant.until(lambda: "press" in connected(top))
    server = top.gateway._process.server
    server.fail("press", TwinError(500, 500000, "silence"))
    leaf.send(telemetry("press", b"twice"))
    assert await leaf.packet() == p.puback()
    await plant.until(lambda: child.gateway.parent._batches)
    await plant.until(lambda: child.gateway.parent._legs["press"].line.busy)
    child.clock.elapse(31)
    await plant.until(lambda: "for press has ended: no acknowledgement within 30 seconds" in child.log.getvalue())
    server.recover("press")
    child.clock.elapse(2)
    assert (await top.gateway.upstream.inbox.next_message("press", timeout=20)).body == b"twice"
    assert child.gateway.parent.reachable


async def test_attempts_back_off_by_the_clock(plant):
    """A parent that was never there is tried at once, then only when the clock says so."""
    await plant.start()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        attempts = []
        child = await plant.below("edge2", online=False, parent_address=("127.0.0.1", port, port))
        own = child.gateway.parent._own
        for wait in (0, 1, 2, 4, 8, 16, 32, 60, 60):
            child.clock.advance(wait)
            await plant.until(lambda: own.due > child.clock.now())
            attempts.append(own.due - child.clock.now())
    assert attempts == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert f"cannot connect to 127.0.0.1:{port}: connection refused" in child.log.getvalue()


async def test_child_whose_own_edge_hub_restarts_is_connected_again(plant):
    """Its connections end with it and are made anew; leaves come back and are spoken for."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    await child.join()
    await plant.until(lambda: connected(top) == {"edge2/$edgeHub", "press"})
    await child.gateway.exit()
    await plant.until(lambda: connected(top) == set())
    await child.gateway.boot()
    await plant.until(lambda: connected(top) == {"edge2/$edgeHub"})
    leaf = await child.join()
    leaf.send(telemetry("press", b"again"))
    assert await leaf.packet() == p.puback()
    assert (await top.gateway.upstream.inbox.next_message(timeout=20)).body == b"again"


async def test_nothing_is_left_when_a_child_stops(plant):
    """No task, no descriptor; the parent hears DISCONNECT, not a connection that breaks."""
    top = await plant.start()
    before = descriptor_count(), len(asyncio.all_tasks())
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    await child.join()
    await plant.until(lambda: connected(top) == {"edge2/$edgeHub", "press"})
    await child.close()
    await plant.until(lambda: connected(top) == set())
    await plant.until(lambda: (descriptor_count(), len(asyncio.all_tasks())) == before)
    assert {each.reason for each in top.of(ClientDisconnected)} == {"DISCONNECT"}


async def test_reported_change_goes_up_before_the_child_stops(plant):
    """What waits for the next push, once in five seconds, is not lost when the child is told to stop."""
    top = await plant.start(settings=Settings(reported_sync_period=0))
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await listener(child, RESPONSES, qos=0)
    twins = top.gateway.upstream.twins
    for number, heat in ((1, 20), (2, 21)):
        body = json.dumps({"heat": heat}).encode()
        leaf.send(p.publish(f"$iothub/twin/PATCH/properties/reported/?$rid={number}", body, qos=0))
        assert p.read_publish(await leaf.packet())[0] == f"$iothub/twin/res/204/?$rid={number}"
        await plant.until(lambda: twins.get("press").reported.get("heat") == 20)
    await child.gateway.stop()
    await plant.until(lambda: twins.get("press").reported == {"heat": 21})


async def test_leaf_that_leaves_is_spoken_for_no_longer(plant):
    """Its connection at the parent ends with it; the child's own stays."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await child.join()
    await plant.until(lambda: connected(top) == {"edge2/$edgeHub", "press"})
    leaf.send(p.DISCONNECT)
    await plant.until(lambda: connected(top) == {"edge2/$edgeHub"})


async def test_token_is_renewed_before_it_ends(plant):
    """A connection's token ends after an hour; before that the child connects anew, and is never offline."""
    top = await plant.start()
    child = await plant.below("edge2")
    for _ in range(3):
        connects = accepted(top)
        child.clock.advance(3_100)
        await plant.until(lambda connects=connects: accepted(top) > connects)
    assert "Entering disconnected state" not in child.log.getvalue()
    assert top.log.getvalue().count("token has expired") == 0


def accepted(hub):
    """How often the child's Edge Hub has connected."""
    return hub.log.getvalue().count("ClientAuthenticated, edge2/$edgeHub")
