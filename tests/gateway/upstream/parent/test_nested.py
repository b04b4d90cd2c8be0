"""A gateway below another one: what leaves do arrives at the top, and what the top wants reaches them."""

import json

import httpx
import pytest

from gateway import Settings
from tests.gateway import packets as p
from tests.gateway.broker.test_methods import answer, called, calling, result_of
from tests.gateway.upstream.parent.conftest import telemetry

RESPONSES = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
METHODS = "$iothub/methods/POST/#"
C2D = "devices/press/messages/devicebound/#"


async def listener(hub, *filters, device_id="press", qos=1):
    """A connected leaf with these subscriptions."""
    client = await hub.join(device_id)
    client.send(p.subscribe(*((name, qos) for name in filters)))
    await client.packet()
    return client


async def test_telemetry_of_a_leaf_arrives_at_the_top_in_its_name(plant):
    """Body, properties and system properties as the leaf sent them, with the leaf's own device id."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await child.join()
    bag = "colour=deep%20blue&%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8"
    leaf.send(p.publish(f"devices/press/messages/events/{bag}", b'{"n":1}'))
    assert await leaf.packet() == p.puback()
    message = await top.gateway.upstream.inbox.next_message(timeout=20)
    assert (message.device_id, message.module_id, message.body) == ("press", None, b'{"n":1}')
    assert message.properties == {"colour": "deep blue"}
    assert message.system_properties == {
        "message-id": "m/1", "content-type": "application/json", "content-encoding": "utf-8"
    }  # fmt: skip


async def test_telemetry_of_a_module_arrives_as_that_modules(plant):
    """A module of the child's own edge device is spoken for too; its order is kept."""
    top = await plant.start()
    plant.register("edge2")
    top.gateway.connection_string("edge2", "filter")
    child = await plant.below("edge2", connection=top.gateway.connection_string("edge2", "$edgeHub"))
    module = await child.join("edge2", "filter")
    for number in range(1, 6):
        topic = "devices/edge2/modules/filter/messages/events/"
        module.send(p.publish(topic, str(number).encode(), packet_id=number))
    arrived = [await top.gateway.upstream.inbox.next_message(timeout=20) for _ in range(5)]
    assert [(one.device_id, one.module_id, one.body) for one in arrived] == [
        ("edge2", "filter", str(number).encode()) for number in range(1, 6)
    ]


async def test_twin_goes_through_both_levels(plant):
    """GET brings the desired properties of the top, a reported change arrives there, a desired one comes down."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    twins = top.gateway.upstream.twins
    twins.update_desired("press", {"speed": 5})
    leaf = await listener(child, RESPONSES, DESIRED, qos=0)
    await plant.until(lambda: "press" in connected(top))
    leaf.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    topic, _, body = p.read_publish(await leaf.packet())
    assert topic == "$iothub/twin/res/200/?$rid=1"
    assert json.loads(body) == {"desired": {"speed": 5, "$version": 2}, "reported": {"$version": 1}}

    leaf.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", b'{"heat":21}', qos=0))
    assert p.read_publish(await leaf.packet())[0] == "$iothub/twin/res/204/?$rid=2"
    child.clock.elapse(5)
    await plant.until(lambda: twins.get("press").reported == {"heat": 21})

    await plant.until(lambda: DESIRED in subscriptions(top, "press"))
    twins.update_desired("press", {"speed": 6})
    topic, _, body = p.read_publish(await leaf.packet())
    assert topic == "$iothub/twin/PATCH/properties/desired/?$version=3"
    assert json.loads(body) == {"speed": 6, "$version": 3}


async def test_method_goes_through_both_levels(plant):
    """The top's call reaches the leaf below the child, and its answer the top."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await listener(child, METHODS, qos=0)
    await plant.until(lambda: METHODS in subscriptions(top, "press"))
    call = calling(top, "press", "reboot", {"delay": 5})
    name, request_id, payload, _ = await called(leaf)
    assert (name, payload) == ("reboot", {"delay": 5})
    leaf.send(answer(request_id, "201"))
    result = await result_of(call)
    assert (result.http_status, result.status, result.json()) == (200, 201, {"done": True})


async def test_method_of_a_leaf_that_is_not_there_is_404(plant):
    """Nobody speaks for a leaf that is not connected to the child."""
    top = await plant.start()
    await plant.below("edge2")
    plant.leaf("press", "edge2")
    result = await result_of(calling(top, "press", "reboot"))
    assert (result.http_status, result.status) == (404, None)


async def test_cloud_to_device_message_goes_through_both_levels(plant):
    """It is complete at the top when the leaf has acknowledged it, and not before."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await listener(child, C2D)
    commands = top.gateway.upstream.commands
    commands.send("press", b"stop", {"line": "4 b"}, {"message-id": "m1"}, ack="full")
    topic, qos, body = p.read_publish(await leaf.packet())
    assert (qos, body) == (1, b"stop")
    assert {"line=4%20b", "%24.mid=m1"} <= set(topic.rpartition("/")[2].split("&"))
    assert commands.feedback.receive(top.clock.now()) is None
    leaf.send(p.puback())
    leaf.send(p.PINGREQ)
    assert await leaf.packet() == p.PINGRESP
    await plant.until(lambda: commands.depth("press") == 0)


async def test_cloud_to_device_message_that_was_not_acknowledged_comes_again(plant):
    """The leaf leaves without PUBACK; the next time it is there, the message is there too."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await listener(child, C2D)
    top.gateway.upstream.commands.send("press", b"stop")
    assert p.read_publish(await leaf.packet())[2] == b"stop"
    leaf.abort()
    await plant.until(lambda: "press" not in connected(top))
    again = await listener(child, C2D)
    assert p.read_publish(await again.packet())[2] == b"stop"


async def test_three_levels_work(plant):
    """Leaf, lower child, child, top, stand-in: telemetry up, methods and twin down, each in the leaf's name."""
    top = await plant.start()
    child = await plant.below("edge2")
    lower = await plant.below("edge3", child)
    plant.leaf("press", "edge3")
    leaf = await listener(lower, METHODS, RESPONSES, qos=0)
    leaf.send(telemetry("press", b"deep"))
    assert await leaf.packet() == p.puback()
    message = await top.gateway.upstream.inbox.next_message(timeout=20)
    assert (message.device_id, message.body) == ("press", b"deep")
    assert auth_chains(top)["press"] == "press;edge3;edge2"
    assert auth_chains(child)["press"] == "press;edge3"

    await plant.until(lambda: METHODS in subscriptions(top, "press"))
    call = calling(top, "press", "reboot")
    _, request_id, _, _ = await called(leaf)
    leaf.send(answer(request_id, body=b"{}", qos=0))
    assert (await result_of(call)).status == 200

    top.gateway.upstream.twins.update_desired("press", {"speed": 5})
    leaf.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    assert json.loads(p.read_publish(await leaf.packet())[2])["desired"] == {"speed": 5, "$version": 2}


async def test_five_levels_work(plant):
    """As many as the product allows: telemetry of a leaf below the fifth gateway arrives in its name."""
    top = await plant.start()
    above = top
    for number in range(2, 6):
        above = await plant.below(f"edge{number}", None if above is top else above)
    plant.leaf("press", "edge5")
    leaf = await above.join()
    leaf.send(telemetry("press", b"deepest"))
    assert await leaf.packet() == p.puback()
    message = await top.gateway.upstream.inbox.next_message(timeout=20)
    assert (message.device_id, message.body) == ("press", b"deepest")
    assert auth_chains(top)["press"] == "press;edge5;edge4;edge3;edge2"


@pytest.mark.parametrize("good", [True, False])
async def test_token_of_a_device_out_of_scope_is_tried_at_the_parent(plant, good):
    """AuthenticationMode CloudAndScope: whom the child does not know, its parent may; it then speaks for itself."""
    top = await plant.start()
    child = await plant.below("edge2", settings=Settings(authentication_mode="cloud-and-scope"))
    top.gateway.add_device("fan")
    password = top.password("fan" if good else "other")
    client = await child.dial(server_name=child.gateway.hostname)
    client.send(p.connect("fan", "hub.leafgate.test/fan/?api-version=2021-04-12", password))
    assert (await client.packet())[3] == (0 if good else 5)
    if good:
        client.send(telemetry("fan", b"mine"))
        assert await client.packet() == p.puback()
        message = await top.gateway.upstream.inbox.next_message(timeout=20)
        assert (message.device_id, message.body) == ("fan", b"mine")
        assert auth_chains(top)["fan"] is None


async def test_model_of_a_leaf_is_told_above(plant):
    """Its id goes up in the user name, so that the cloud knows what the leaf is."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    name = "hub.leafgate.test/press/?api-version=2021-04-12&model-id=dtmi%3Aplant%3APress%3B1"
    await child.join(username=name)
    await plant.until(lambda: "press" in connected(top))
    assert top.gateway._process.edge.clients.get("press").proof.identity.model_id == "dtmi:plant:Press;1"


async def test_client_that_unsubscribes_does_so_at_the_parent(plant):
    """What a leaf no longer takes, nobody takes for it."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await listener(child, METHODS)
    await plant.until(lambda: METHODS in subscriptions(top, "press"))
    leaf.send(p.unsubscribe(METHODS))
    await plant.until(lambda: METHODS not in subscriptions(top, "press"))


def connected(hub):
    """The ids of who is connected."""
    return {client.id for client in hub.gateway._process.edge.clients}


def subscriptions(hub, client_id):
    """The filters of a connected client."""
    client = hub.gateway._process.edge.clients.get(client_id)
    return {} if client is None else client.filters


def auth_chains(hub):
    """The chains with which others speak for the connected clients."""
    return {client.id: client.proof.identity.auth_chain for client in hub.gateway._process.edge.clients}


async def test_child_says_over_http_that_its_cloud_is_above(plant):
    """It has a state, no registry, and a line that only its parent can cut."""
    await plant.start()
    child = await plant.below("edge2", admin_port=0)
    async with httpx.AsyncClient(base_url=f"{child.gateway.admin_url}/api/v1", timeout=30) as web:
        state, switched = await web.get("/state"), await web.put("/link", json={"state": "refused"})
    assert (state.status_code, state.json()["registered"]) == (200, None)
    assert (switched.status_code, "below another gateway" in switched.json()["message"]) == (409, True)
    assert child.gateway.parent.reachable
