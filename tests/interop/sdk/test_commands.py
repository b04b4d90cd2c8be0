"""Cloud-to-device messages with the real SDKs."""

from tests.interop.sdk.marks import MARKS

pytestmark = MARKS

PROPERTIES = {"colour": "deep blue", "signs": "a=b&c/d?e#f%41+", "unicode": "é…☃"}
SYSTEM = {
    "message-id": "m 1",
    "correlation-id": "c/1",
    "user-id": "back@end",
    "content-type": "application/json",
    "content-encoding": "utf-8",
}


async def test_message_arrives_with_its_properties(room, sdk, transport):
    """Body, system properties and application properties are what the sender gave; its acknowledgement is told."""
    device = await room.open(sdk, transport=transport)
    await device.listen()
    commands = room.gateway.upstream.commands
    commands.send("dev1", b'{"hello": "device"}', PROPERTIES, SYSTEM, ack="full")
    message = await device.event("message")
    assert message["body"] == '{"hello": "device"}'
    assert {name: message["properties"][name] for name in PROPERTIES} == PROPERTIES
    assert {name: message.get(name.replace("-", "_")) for name in SYSTEM} == SYSTEM
    await device.send(body="after the acknowledgement")
    await room.message()
    batch = commands.feedback.receive(room.gateway.clock.now())
    assert [(one.original_message_id, one.status) for one in batch.records] == [("m 1", "Success")]


async def test_message_waits_until_the_device_listens(room, sdk, transport):
    """What was sent before comes with the subscription, in order."""
    commands = room.gateway.upstream.commands
    for body in (b"1", b"2", b"3"):
        commands.send("dev1", body)
    device = await room.open(sdk, transport=transport)
    assert commands.depth("dev1") == 3
    await device.listen()
    assert [(await device.event("message"))["body"] for _ in range(3)] == ["1", "2", "3"]


async def test_message_waits_for_a_device_that_is_away(room, sdk, transport):
    """What was sent meanwhile comes after the reconnect, although the SDK does not subscribe again."""
    device = await room.open(sdk, transport=transport)
    await device.listen()
    await device.disconnect()
    room.gateway.upstream.commands.send("dev1", b"meanwhile")
    await device.reconnect()
    assert (await device.event("message"))["body"] == "meanwhile"
