"""The fault messages of the device SDKs' own tests: each does what it names, for its time, to its sender alone."""

import asyncio
import json
from contextlib import suppress
from urllib.parse import quote

import pytest

from gateway import Settings
from tests.gateway import packets as p
from tests.gateway.faults.conftest import timers_of, until, visit

FAILURES = {"InvokeThrottling": (429, 429001), "InvokeMaxMessageQuota": (403, 403002), "InvokeAuthError": (401, 401003)}


def order(kind, *, reason="boom", delay=0, duration=0, packet_id=9, device_id="press"):
    """A PUBLISH that asks for a fault, as the SDKs' suites compose it."""
    values = {"Type": kind, "CloseReason": reason, "DelayInSecs": delay, "DurationInSecs": duration}
    bag = "&".join(f"AzIoTHub_FaultOperation{name}={quote(str(value))}" for name, value in values.items())
    return p.publish(f"devices/{device_id}/messages/events/{bag}", b"guid", packet_id=packet_id)


@pytest.fixture
async def hooked(start):
    """A gateway that obeys fault messages."""
    return await start(settings=Settings(fault_injection=True))


def bodies(hub):
    """What has arrived upstream."""
    return [message.body for message in hub.gateway.upstream.inbox.messages]


async def get_twin(client, number):
    """Status and body of a twin GET, which is acknowledged first."""
    client.send(p.publish(f"$iothub/twin/GET/?$rid={number}", b"", packet_id=number))
    assert await client.packet() == p.puback(number)
    topic, qos, body = p.read_publish(await client.packet())
    assert (topic.split("/?")[1], qos) == (f"$rid={number}", 0)
    return int(topic.split("/")[3]), json.loads(body)


async def test_fault_message_is_plain_telemetry_unless_switched_on(hub):
    """Without the setting it arrives with its properties, and nothing happens."""
    client = await hub.join()
    client.send(order("KillTcp"), p.publish(body=b"next"))
    assert await client.packets(2) == [p.puback(9), p.puback()]
    message = hub.gateway.upstream.inbox.messages[0]
    assert message.properties["AzIoTHub_FaultOperationType"] == "KillTcp"
    assert bodies(hub) == [b"guid", b"next"]


async def test_kill_tcp_resets_after_it_was_acknowledged(hooked):
    """PUBACK, then ECONNRESET; the message is no telemetry; another client and the next connection are served."""
    other, client = await hooked.join("other"), await hooked.join()
    client.send(p.publish(body=b"before"), order("KillTcp", delay=0.05))
    assert await client.packets(2) == [p.puback(), p.puback(9)]
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    again = await hooked.join()
    again.send(p.publish(body=b"after"))
    assert await again.packet() == p.puback()
    other.send(p.publish("devices/other/messages/events/", b"other"))
    assert await other.packet() == p.puback()
    assert bodies(hooked) == [b"before", b"after", b"other"]
    assert hooked.gateway.faults.active == ()


async def test_kill_tcp_goes_on_for_its_duration(hooked):
    """A new connection of the same client is reset before it has a CONNACK; others come in."""
    client = await hooked.join()
    client.send(order("KillTcp", duration=3_600))
    assert await client.packet() == p.puback(9)
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    await visit(hooked, "other")
    again = await hooked.dial()
    again.send(hooked.hello())
    with pytest.raises(ConnectionResetError):
        await again.packet()


async def test_kill_tcp_is_over_after_its_duration(hooked):
    """A client that tries again and again gets in."""
    client = await hooked.join()
    client.send(order("KillTcp", duration=0.05))
    assert await client.packet() == p.puback(9)
    while True:
        again = await hooked.dial()
        again.send(hooked.hello())
        with suppress(ConnectionResetError):
            assert await again.packet() == b"\x20\x02\x00\x00"
            break
    await until(lambda: hooked.gateway.faults.active == ())


async def test_shut_down_mqtt_ends_in_good_order(hooked):
    """PUBACK, then close_notify; connecting again works."""
    client = await hooked.join()
    client.send(order("ShutDownMqtt", reason="byebye", delay=0.05))
    assert await client.packet() == p.puback(9)
    client._in.write(await client.raw_rest())
    assert client.ssl.read() == b"", "without close_notify it would want to read more"
    await visit(hooked, "press")


@pytest.mark.parametrize("kind", FAILURES)
async def test_operations_fail_for_the_duration_and_nobody_is_disconnected(hooked, kind):
    """Telemetry gets no PUBACK and goes nowhere, twin requests get IoT Hub's status, others are served; it ends."""
    status, code = FAILURES[kind]
    other, client = await hooked.join("other"), await hooked.join()
    telemetry = p.publish(body=b"same topic")
    client.send(telemetry)
    assert await client.packet() == p.puback()
    client.send(order(kind, duration=3_600))
    assert await client.packet() == p.puback(9)
    client.send(p.publish(body=b"lost", packet_id=2), p.publish(body=b"lost", qos=0))
    answered, body = await get_twin(client, 3)
    assert (answered, body["errorCode"]) == (status, code)
    assert body["message"]
    client.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=4", b'{"a":1}', packet_id=4))
    assert await client.packet() == p.puback(4)
    assert p.read_publish(await client.packet())[0] == f"$iothub/twin/res/{status}/?$rid=4"
    other.send(p.publish("devices/other/messages/events/", b"other"))
    assert await other.packet() == p.puback()
    assert (await get_twin(other, 5))[0] == 200
    client.send(order(kind, duration=0.05))
    assert await client.packet() == p.puback(9)
    number = 10
    while (await get_twin(client, number))[0] != 200:
        number += 1
    client.send(telemetry)
    assert await client.packet() == p.puback()
    assert bodies(hooked) == [b"same topic", b"other", b"same topic"]
    assert dict(hooked.gateway.upstream.twins.get("press").reported) == {}


async def test_failing_client_that_connects_again_still_fails(hooked):
    """The fault is the client's, not the connection's."""
    client = await hooked.join()
    client.send(order("InvokeThrottling", duration=60))
    assert await client.packet() == p.puback(9)
    client.send(p.DISCONNECT)
    await client.eof()
    again = await hooked.join()
    assert (await get_twin(again, 1))[0] == 429


async def test_method_answers_still_count_while_operations_fail(hooked):
    """A direct method of a throttled client goes on: IoT Hub throttles those on their own."""
    client = await hooked.join()
    client.send(p.subscribe(("$iothub/methods/POST/#", 0)), order("InvokeThrottling", duration=60))
    assert await client.packets(2) == [b"\x90\x03\x00\x01\x00", p.puback(9)]
    call = asyncio.create_task(hooked.gateway.invoke_method("press", "ping"))
    topic, _, _ = p.read_publish(await client.packet())
    client.send(p.publish(f"$iothub/methods/res/200/?{topic.split('?')[1]}", b"1", qos=0))
    assert (await call).json() == 1


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("KillAmqpConnection", {}, "KillAmqpConnection is about AMQP, which this gateway does not speak"),
        ("ShutDownAmqp", {}, "ShutDownAmqp is about AMQP"),
        ("KillAll", {}, "'KillAll' is none of KillTcp, ShutDownMqtt, InvokeThrottling"),
        ("KillTcp", {"delay": "soon"}, "AzIoTHub_FaultOperationDelayInSecs is 'soon', no number of seconds"),
        ("KillTcp", {"delay": "-1"}, "AzIoTHub_FaultOperationDelayInSecs is '-1'"),
        ("KillTcp", {"duration": "inf"}, "AzIoTHub_FaultOperationDurationInSecs is 'inf'"),
        ("KillTcp", {"duration": "nan"}, "AzIoTHub_FaultOperationDurationInSecs is 'nan'"),
    ],
)
async def test_order_that_cannot_be_obeyed_is_acknowledged_and_told(hooked, kind, given, said):
    """A warning says why; the message goes nowhere and the client stays."""
    client = await hooked.join()
    client.send(order(kind, **given), p.publish(body=b"next"))
    assert await client.packets(2) == [p.puback(9), p.puback()]
    assert bodies(hooked) == [b"next"]
    assert f"[WRN] - Fault injection asked for by press is ignored: {said}" in hooked.log.getvalue()


async def test_newer_order_takes_the_place_of_an_older_one(hooked):
    """Throttled for long, then for no time: it is over at once."""
    client = await hooked.join()
    client.send(order("InvokeThrottling", duration=3_600))
    assert await client.packet() == p.puback(9)
    while (await get_twin(client, 1))[0] != 429:
        pass
    client.send(order("InvokeThrottling", duration=0, packet_id=8))
    assert await client.packet() == p.puback(8)
    assert (await get_twin(client, 2))[0] == 200


async def test_orders_end_with_the_gateway(hooked):
    """What has not struck yet never does, what lasts is over, and a will that asks for a fault starts none."""
    client = await hooked.join()
    client.send(order("InvokeAuthError", duration=3_600), order("KillTcp", delay=3_600, packet_id=8))
    assert await client.packets(2) == [p.puback(9), p.puback(8)]
    assert (await get_twin(client, 1))[0] == 401
    await hooked.join("willing", will=("devices/willing/messages/events/AzIoTHub_FaultOperationType=KillTcp", b""))
    await hooked.gateway.stop()
    assert timers_of("gateway.faults") == []
    await hooked.gateway.start()
    assert (await get_twin(await hooked.join(), 1))[0] == 200
