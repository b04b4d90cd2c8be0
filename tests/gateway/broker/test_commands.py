"""Cloud-to-device messages over real TLS."""

import pytest

from gateway.errors import CommandRefusedError
from gateway.events import ClientDisconnected
from tests.gateway import packets as p

FILTER = "devices/press/messages/devicebound/#"


async def receiver(hub, topic_filter=FILTER, *, qos=1, **options):
    """A connected device that takes cloud-to-device messages."""
    client = await hub.join(**options)
    client.send(p.subscribe((topic_filter, qos)))
    await client.packet()
    return client


def feedback(hub):
    """What senders were told so far: message id and status, once the fifteen seconds of a batch are over."""
    hub.clock.advance(15)
    batch = hub.gateway.upstream.commands.feedback.receive(hub.clock.now())
    return [(one.original_message_id, one.status) for one in batch.records] if batch else []


async def quiet(client):
    """Nothing comes before the answer to a ping."""
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def test_message_arrives_with_its_properties(hub):
    """Body byte for byte; all properties percent-encoded behind devicebound/, system properties last."""
    client = await receiver(hub)
    hub.gateway.upstream.commands.send(
        "press",
        bytes(range(256)),
        {"colour": "deep blue", "a&b": "c=d/ü"},
        {"message-id": "m 1", "content-type": "application/json", "correlation-id": "c"},
        ack="full",
    )
    topic, qos, body = p.read_publish(await client.packet())
    assert (qos, body) == (1, bytes(range(256)))
    head, bag = topic.split("devicebound/")
    assert head == "devices/press/messages/"
    assert sorted(bag.split("&")) == sorted([
        "%24.mid=m%201", "%24.to=%2Fdevices%2Fpress%2Fmessages%2Fdevicebound", "%24.ct=application%2Fjson",
        "%24.cid=c", "iothub-ack=full", "colour=deep%20blue", "a%26b=c%3Dd%2F%C3%BC",
    ])  # fmt: skip


async def test_puback_completes_a_message(hub):
    """It is locked until then, and gone afterwards; its sender is told when it asked."""
    client, commands = await receiver(hub), hub.gateway.upstream.commands
    commands.send("press", b"x", None, {"message-id": "m"}, ack="positive")
    await client.packet()
    assert commands.depth("press") == 1
    client.send(p.puback())
    await quiet(client)
    assert commands.depth("press") == 0
    assert feedback(hub) == [("m", "Success")]


async def test_message_with_qos_0_is_complete_when_it_is_sent(hub):
    """There will be no PUBACK."""
    client, commands = await receiver(hub, qos=0), hub.gateway.upstream.commands
    commands.send("press", b"x")
    assert p.read_publish(await client.packet())[1] == 0
    assert commands.depth("press") == 0


async def test_message_waits_for_a_device_that_is_not_there(hub):
    """Not connected, or not subscribed: it stays with IoT Hub, in order, and comes with the subscription."""
    commands = hub.gateway.upstream.commands
    for body in (b"1", b"2"):
        commands.send("press", body)
    client = await hub.join()
    await quiet(client)
    client.send(p.subscribe((FILTER, 1)))
    packets = await client.packets(3)
    assert packets[0] == b"\x90\3\0\1\1"
    assert [p.read_publish(one)[2] for one in packets[1:]] == [b"1", b"2"]


async def test_messages_that_were_not_acknowledged_come_again(hub):
    """The connection ends before PUBACK: back to the queue, same order, and again after the reconnect."""
    client, commands = await receiver(hub, clean=False), hub.gateway.upstream.commands
    for body in (b"1", b"2", b"3"):
        commands.send("press", body)
    await client.packets(3)
    client.send(p.puback())
    await quiet(client)
    client.abort()
    await hub.event(ClientDisconnected)
    again = await hub.join(clean=False, present=True)
    assert [p.read_publish(one)[2] for one in await again.packets(2)] == [b"2", b"3"]


async def test_message_that_is_given_back_ten_times_is_dead(hub):
    """Ten connections end before PUBACK; the eleventh gets nothing, and the sender is told."""
    commands = hub.gateway.upstream.commands
    commands.send("press", b"x", ack="negative")
    client = await receiver(hub, clean=False)
    for number in range(10):
        assert p.read_publish(await client.packet())[2] == b"x"
        client.abort()
        await hub.event(ClientDisconnected, peer=client.peer)
        client = await hub.join(clean=False, present=True)
        assert commands.depth("press") == (number < 9)
    await quiet(client)
    assert feedback(hub) == [("", "DeliveryCountExceeded")]


async def test_message_that_is_not_acknowledged_comes_again_each_minute(hub):
    """Its lock runs out after a minute."""
    client, commands = await receiver(hub), hub.gateway.upstream.commands
    commands.send("press", b"x")
    for _ in range(12):
        assert p.read_publish(await client.packet())[2] == b"x"
        hub.clock.advance(60)


async def test_late_puback_of_a_lost_lock_completes_nothing(hub):
    """The message has been given back meanwhile; the second delivery is the one that counts."""
    client, commands = await receiver(hub), hub.gateway.upstream.commands
    commands.send("press", b"x")
    await client.packet()
    hub.clock.advance(60)
    await client.packet()
    client.send(p.puback())
    await quiet(client)
    assert commands.depth("press") == 1
    client.send(p.puback())
    await quiet(client)
    assert commands.depth("press") == 0


async def test_message_expires(hub):
    """After its time to live it is not delivered; its sender is told when it asked."""
    commands = hub.gateway.upstream.commands
    commands.send("press", b"old", ttl=60, ack="full")
    commands.send("press", b"new")
    hub.clock.advance(61)
    client = await receiver(hub)
    assert p.read_publish(await client.packet())[2] == b"new"
    assert feedback(hub) == [("", "Expired")]


async def test_message_is_rejected_when_no_filter_matches_its_topic(hub):
    """A filter that ends in devicebound/# makes the hub listen; when it is another device's, the message is dead."""
    client, commands = await receiver(hub, "devices/mill/messages/devicebound/#"), hub.gateway.upstream.commands
    commands.send("press", b"x", ack="full")
    await quiet(client)
    assert commands.depth("press") == 0
    assert feedback(hub) == [("", "Rejected")]
    assert "[WRN] - Message for device press was rejected: no subscription matches its topic" in hub.log.getvalue()


async def test_message_whose_topic_would_be_too_long_is_rejected(hub):
    """Properties that grow beyond 65,535 bytes when they are escaped: dead, and the device goes on."""
    client, commands = await receiver(hub), hub.gateway.upstream.commands
    commands.send("press", b"", {"p": "ü" * 20_000}, ack="full")
    commands.send("press", b"next")
    assert p.read_publish(await client.packet())[2] == b"next"
    assert feedback(hub) == [("", "Rejected")]


async def test_unsubscribing_stops_the_hub_until_the_device_reconnects(hub):
    """The product cannot start listening again on the same connection; messages stay with IoT Hub meanwhile."""
    client, commands = await receiver(hub, clean=False), hub.gateway.upstream.commands
    client.send(p.unsubscribe(FILTER), p.subscribe((FILTER, 1)))
    await client.packets(2)
    commands.send("press", b"x")
    await quiet(client)
    assert commands.depth("press") == 1
    client.abort()
    await hub.event(ClientDisconnected)
    again = await hub.join(clean=False, present=True)
    assert p.read_publish(await again.packet())[2] == b"x"


async def test_messages_wait_while_the_cloud_is_away(hub):
    """They come when the link is back."""
    client, upstream = await receiver(hub), hub.gateway.upstream
    upstream.online = False
    upstream.commands.send("press", b"x")
    await quiet(client)
    upstream.online = True
    assert p.read_publish(await client.packet())[2] == b"x"


async def test_device_that_does_not_read_keeps_its_messages_at_the_cloud(hub):
    """What it cannot take stays in the queue, undelivered, and comes when it reads."""
    client, commands = await receiver(hub, dialled={"receive_buffer": 2_048}), hub.gateway.upstream.commands
    for _ in range(50):
        commands.send("press", bytes(60_000))
        await hub.turn()
    (connection,) = hub.gateway._process.server.connections
    assert not connection.writable
    assert len(commands._locked) < 50
    for _ in range(50):
        assert len(p.read_publish(await client.packet())[2]) == 60_000
        client.send(p.puback())


@pytest.mark.parametrize(
    ("options", "status", "what"),
    [
        ({"body": bytes(65_537)}, 413, "65536 is the most"),
        ({"body": b"", "ttl": 0}, 400, "cannot live 0 seconds"),
        ({"body": b"", "ttl": 48 * 3_600 + 1}, 400, "cannot live"),
        ({"body": b"", "ack": "often"}, 400, "no kind of feedback"),
    ],
)
async def test_message_that_iot_hub_would_not_take(hub, options, status, what):
    """Too large, a time to live out of range, an unknown kind of feedback."""
    with pytest.raises(CommandRefusedError, match=what) as error:
        hub.gateway.upstream.commands.send("press", **options)
    assert error.value.status == status


async def test_queue_holds_fifty_messages(hub):
    """The next one is refused until some are taken or purged."""
    commands = hub.gateway.upstream.commands
    for _ in range(50):
        commands.send("press", b"x")
    with pytest.raises(CommandRefusedError, match="Device Queue depth cannot exceed 50 messages") as error:
        commands.send("press", b"x")
    assert error.value.status == 403
    assert commands.purge("press") == 50
    commands.send("press", b"x")
