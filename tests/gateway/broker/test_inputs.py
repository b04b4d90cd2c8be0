"""Messages to and from modules over real TLS."""

import asyncio

import pytest

from gateway import GatewayError
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE

INPUTS = "devices/press/modules/filter/inputs/#"


async def module(hub, topic_filter=INPUTS, *, qos=1):
    """A connected module that takes messages."""
    client = await hub.join("press", "filter")
    client.send(p.subscribe((topic_filter, qos)))
    await client.packet()
    return client


def sending(hub, body=b"x", **options):
    """A message to the module's input that is under way."""
    return asyncio.ensure_future(hub.gateway.send_to_input("press", "filter", "in", body, **options))


async def outcome(task):
    """Wait for a task, but not for ever."""
    async with asyncio.timeout(PATIENCE):
        return await task


@pytest.mark.parametrize("topic_filter", [INPUTS, "devices/press/modules/filter/#"])
async def test_message_goes_to_the_input(hub, topic_filter):
    """On inputs/NAME/ with its properties; it is done when the module has acknowledged it."""
    client = await module(hub, topic_filter)
    task = sending(hub, b"hello", properties={"a b": "c"}, system_properties={"connection-device-id": "mill"})
    topic, qos, body = p.read_publish(await client.packet())
    assert (qos, body) == (1, b"hello")
    assert topic == "devices/press/modules/filter/inputs/in/a%20b=c&%24.cdid=mill"
    assert not task.done()
    client.send(p.puback())
    assert await outcome(task) is None


async def test_messages_go_one_at_a_time(hub):
    """The second one follows on the first one's PUBACK."""
    client = await module(hub)
    tasks = [sending(hub, body) for body in (b"1", b"2", b"3")]
    for body in (b"1", b"2", b"3"):
        assert p.read_publish(await client.packet())[2] == body
        client.send(p.PINGREQ)
        assert await client.packet() == p.PINGRESP
        client.send(p.puback())
    for task in tasks:
        await outcome(task)


async def test_message_that_is_not_acknowledged_fails_and_the_next_one_follows(hub):
    """After MessageAckTimeoutSecs."""
    client = await module(hub)
    first, second = sending(hub, b"1"), sending(hub, b"2")
    assert p.read_publish(await client.packet())[2] == b"1"
    hub.clock.elapse(30)
    with pytest.raises(GatewayError, match="did not take the message for input in"):
        await outcome(first)
    assert p.read_publish(await client.packet())[2] == b"2"
    client.send(p.puback(), p.puback())
    await outcome(second)


@pytest.mark.parametrize("how", ["absent", "unsubscribed", "leaves"])
async def test_message_for_a_module_that_is_not_there_fails(hub, how):
    """Not connected, without a subscription, or gone before it has acknowledged."""
    if how == "absent":
        client = None
    elif how == "unsubscribed":
        client = await hub.join("press", "filter")
    else:
        client = await module(hub)
    tasks = [sending(hub), sending(hub)]
    if how == "leaves":
        await client.packet()
        client.abort()
    for task in tasks:
        with pytest.raises(GatewayError, match="did not take the message"):
            await outcome(task)


async def test_output_of_a_module_goes_up(hub):
    """`$.on` names the output."""
    client = await hub.join("press", "filter")
    client.send(p.publish("devices/press/modules/filter/messages/events/%24.on=out1&k=v/", b"x"))
    assert await client.packet() == p.puback()
    (message,) = hub.gateway.upstream.inbox.messages
    assert (message.device_id, message.module_id, message.properties) == ("press", "filter", {"k": "v"})
    assert message.system_properties == {"output-name": "out1"}
