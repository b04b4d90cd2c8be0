"""A gateway below another one, over real TLS: what leaves do arrives at the top, and what the top wants reaches them."""

import json

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
