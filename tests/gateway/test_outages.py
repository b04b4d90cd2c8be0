"""What a device notices of each state of the link, over real MQTT connections, and what the gateway logs."""

import asyncio
import json

import pytest

from gateway import Settings
from gateway.events import ClientDisconnected, ConnectionRefused
from tests.gateway import packets as p

RESPONSES = ("$iothub/twin/res/#", 1)
DESIRED = ("$iothub/twin/PATCH/properties/desired/#", 1)
METHODS = ("$iothub/methods/POST/#", 1)
COMMANDS = ("devices/press/messages/devicebound/#", 1)
GET = p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0)
AWAY = ("refused", "dns-gone", "black-hole")
EVERY = (*AWAY, "slow", "throttled", "quota-exceeded")


def lines(hub):
    """What the log has said, without time and level."""
    return [line.partition("] - ")[2] for line in hub.log.getvalue().splitlines()]


async def device(hub, *filters, name="press", **options):
    """A connected device with these subscriptions."""
    client = await hub.join(name, **options)
    if filters:
        client.send(p.subscribe(*filters))
        await client.packet()
    return client


async def twin(client):
    """Ask for the twin and read the answer: status and document."""
    client.send(GET)
    topic, _, body = p.read_publish(await client.packet())
    return topic.split("/")[3], json.loads(body)


async def report(client, **properties):
    """Change reported properties; the status of the answer."""
    client.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", json.dumps(properties).encode(), qos=0))
    return p.read_publish(await client.packet())[0].split("/")[3]


async def quiet(client):
    """Nothing has come for the client."""
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def passing(hub, seconds):
    """Let time pass for everything, by whole seconds."""
    for _ in range(seconds):
        hub.clock.elapse(1)
        await hub.turn()


async def called(client):
    """Take a method call and answer it."""
    topic = p.read_publish(await client.packet())[0]
    answer = f"$iothub/methods/res/200/?$rid={topic.rpartition('=')[2]}"
    client.send(p.puback(), p.publish(answer, b"1", qos=0))
    await quiet(client)
    return topic.split("/")[3]


@pytest.mark.parametrize("state", EVERY)
async def test_leaf_stays_connected_and_is_acknowledged(hub, state):
    """Its telemetry is stored and arrives when the line is good again, once and in order."""
    leaf = await device(hub, keep_alive=0)
    hub.gateway.upstream.link.switch(state, latency=5)
    for number in range(1, 4):
        leaf.send(p.publish(body=str(number).encode(), packet_id=number))
        assert await leaf.packet() == p.puback(number)
    assert list(hub.gateway.upstream.inbox.messages) == []
    await passing(hub, 31)
    hub.gateway.upstream.link.switch("up")
    await passing(hub, 61)
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"1", b"2", b"3"]
    assert hub.of(ClientDisconnected) == []


@pytest.mark.parametrize("state", ["refused", "dns-gone", "throttled", "quota-exceeded"])
async def test_twin_comes_from_here_at_once_when_the_line_says_no(hub, state):
    """What was seen last, or an empty twin for a device that has never asked; 200 both times."""
    hub.gateway.upstream.twins.update_desired("press", {"speed": 5})
    known, new = await device(hub, RESPONSES), await device(hub, RESPONSES, name="mill")
    seen = await twin(known)
    hub.gateway.upstream.link.switch(state)
    hub.gateway.upstream.twins.update_desired("press", {"speed": 6})
    assert await twin(known) == seen
    assert await twin(new) == ("200", {"desired": {}, "reported": {}})


async def test_twin_comes_from_here_after_twenty_seconds_of_silence(hub):
    """CloudOperationTimeoutSecs, by the hub's clock; telemetry of the device goes on meanwhile."""
    leaf = await device(hub, RESPONSES)
    hub.gateway.upstream.link.switch("black-hole")
    leaf.send(GET, p.publish(packet_id=7))
    assert await leaf.packet() == p.puback(7)
    await passing(hub, 19)
    await quiet(leaf)
    await passing(hub, 1)
    assert p.read_publish(await leaf.packet())[0] == "$iothub/twin/res/200/?$rid=1"


async def test_slow_line_delays_what_crosses_it(hub):
    """A twin, and then a desired change and a cloud-to-device message: each by the latency."""
    leaf, upstream = await device(hub, RESPONSES, DESIRED, COMMANDS), hub.gateway.upstream
    upstream.link.switch("slow", latency=3)
    leaf.send(GET)
    await quiet(leaf)
    await passing(hub, 2)
    await quiet(leaf)
    await passing(hub, 1)
    assert p.read_publish(await leaf.packet())[0] == "$iothub/twin/res/200/?$rid=1"
    upstream.twins.update_desired("press", {"speed": 5})
    upstream.commands.send("press", b"go")
    await passing(hub, 2)
    await quiet(leaf)
    await passing(hub, 1)
    assert {p.read_publish(one)[2] for one in await leaf.packets(2)} == {b'{"speed":5,"$version":2}', b"go"}


@pytest.mark.parametrize(("latency", "passed", "status"), [(3, 3, 200), (90, 30, 504)])
async def test_slow_line_delays_a_methods_answer(hub, latency, passed, status):
    """Once, for the way there and back; an answer that takes longer than the caller waits is none."""
    leaf = await device(hub, METHODS)
    hub.gateway.upstream.link.switch("slow", latency=latency)
    call = asyncio.create_task(hub.gateway.invoke_method("press", "stop", response_timeout=30))
    await called(leaf)
    await passing(hub, passed - 1)
    assert not call.done()
    await passing(hub, 1)
    assert (await call).http_status == status


@pytest.mark.parametrize("state", AWAY)
async def test_reported_change_is_accepted_and_goes_up_later(hub, state):
    """204 at once; at the cloud when Edge Hub has noticed that the line is good again."""
    leaf, upstream = await device(hub, RESPONSES, keep_alive=0), hub.gateway.upstream
    upstream.link.switch(state, noticed=True)
    assert await report(leaf, heat=20) == "204"
    assert upstream.twins.get("press").reported == {}
    await passing(hub, 60)
    upstream.link.switch("up")
    assert upstream.twins.get("press").reported == {}
    await passing(hub, 120)
    assert upstream.twins.get("press").reported == {"heat": 20}
    assert "Updating reported properties failed press" in lines(hub)


@pytest.mark.parametrize("state", ["throttled", "quota-exceeded"])
async def test_reported_change_that_iot_hub_refuses_goes_up_with_the_next(hub, state):
    """204 at once; nobody is told that IoT Hub would take it now."""
    leaf, upstream = await device(hub, RESPONSES, keep_alive=0), hub.gateway.upstream
    upstream.link.switch(state)
    assert await report(leaf, heat=20) == "204"
    upstream.link.switch("up")
    await passing(hub, 400)
    assert upstream.twins.get("press").reported == {}
    assert await report(leaf, cold=1) == "204"
    assert upstream.twins.get("press").reported == {"heat": 20, "cold": 1}


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [("refused", 500, 500_001), ("throttled", 429, 429_001), ("quota-exceeded", 403, 403_002)],
)
async def test_strict_passes_on_what_iot_hub_says(start, state, status, code):
    """A device that speaks with IoT Hub itself would be told so, with a body."""
    hub = await start(settings=Settings(strict=True))
    leaf = await device(hub, RESPONSES)
    hub.gateway.upstream.link.switch(state)
    for packet in (GET, p.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"a":1}', qos=0)):
        leaf.send(packet)
        topic, _, body = p.read_publish(await leaf.packet())
        assert topic == f"$iothub/twin/res/{status}/?$rid=1"
        assert json.loads(body)["errorCode"] == code


@pytest.mark.parametrize("state", AWAY)
async def test_method_is_404_while_there_is_no_connection(hub, state):
    """The device is connected here and subscribed, and the cloud does not find it."""
    await device(hub, METHODS)
    hub.gateway.upstream.link.switch(state)
    assert (await hub.gateway.invoke_method("press", "stop")).http_status == 404


async def test_method_waits_for_the_connection_as_long_as_its_caller_wants(hub):
    """connectTimeoutInSeconds counts for the link too."""
    leaf = await device(hub, METHODS)
    hub.gateway.upstream.link.switch("refused")
    late = asyncio.create_task(hub.gateway.invoke_method("press", "stop", connect_timeout=10))
    early = asyncio.create_task(hub.gateway.invoke_method("press", "go", connect_timeout=60))
    await passing(hub, 11)
    assert (await late).http_status == 404
    hub.gateway.upstream.link.switch("up")
    await passing(hub, 1)
    assert await called(leaf) == "go"
    assert (await early).status == 200


async def test_answer_to_a_method_that_cannot_go_up_is_none(hub):
    """The line was cut while the device was at it: 504 after the caller's own time."""
    leaf = await device(hub, METHODS)
    call = asyncio.create_task(hub.gateway.invoke_method("press", "stop", response_timeout=30))
    await hub.turn()
    hub.gateway.upstream.link.switch("black-hole")
    await called(leaf)
    await passing(hub, 29)
    assert not call.done()
    await passing(hub, 1)
    assert (await call).http_status == 504


async def test_method_beyond_the_quota_is_refused(hub):
    """All requests to IoT Hub fail then."""
    await device(hub, METHODS)
    hub.gateway.upstream.link.switch("quota-exceeded")
    assert (await hub.gateway.invoke_method("press", "stop")).http_status == 403


@pytest.mark.parametrize("state", [*AWAY, "quota-exceeded"])
async def test_commands_wait_in_the_cloud_and_come_within_twenty_seconds(hub, state):
    """Nothing of them is here; Edge Hub asks for the next one every 20 s, whatever it believes."""
    leaf, upstream = await device(hub, COMMANDS), hub.gateway.upstream
    upstream.link.switch(state)
    upstream.commands.send("press", b"go")
    await passing(hub, 40)
    await quiet(leaf)
    upstream.link.switch("up")
    await passing(hub, 20)
    assert p.read_publish(await leaf.packet())[2] == b"go"


async def test_command_whose_acknowledgement_is_lost_comes_again(hub):
    """The cloud never hears of the device's PUBACK; the lock runs out after a minute."""
    leaf, upstream = await device(hub, COMMANDS), hub.gateway.upstream
    upstream.commands.send("press", b"go")
    assert p.read_publish(await leaf.packet())[2] == b"go"
    upstream.link.switch("refused")
    leaf.send(p.puback())
    await quiet(leaf)
    upstream.link.switch("up")
    assert upstream.commands.depth("press") == 1
    await passing(hub, 61)
    assert p.read_publish(await leaf.packet())[2] == b"go"
    leaf.send(p.puback())
    await quiet(leaf)
    assert upstream.commands.depth("press") == 0


async def stranger(hub):
    """A device that was registered after the gateway read its scope."""
    packet = hub.hello("new")
    client = await hub.dial()
    client.send(packet)
    async with asyncio.timeout(20):
        while "Refreshing service identity for new" not in lines(hub):  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0)
    return client


async def test_unknown_device_hangs_in_a_black_hole(hub):
    """A hundred seconds, then CONNACK 5; a known one comes in at once meanwhile."""
    await device(hub, name="known")
    hub.gateway.upstream.link.switch("black-hole")
    new = await stranger(hub)
    await device(hub, name="known")
    await passing(hub, 99)
    assert hub.of(ConnectionRefused) == []
    await passing(hub, 1)
    assert await new.rest() == b"\x20\2\0\5"


async def test_unknown_device_is_refused_soon_without_a_connection(hub):
    """It is asked for three times, then the whole scope is: 12 s, then CONNACK 5."""
    await passing(hub, 121)  # the scope was read at the start, and is not read again within two minutes
    hub.gateway.upstream.link.switch("refused")
    new = await stranger(hub)
    await passing(hub, 11)
    assert hub.of(ConnectionRefused) == []
    await passing(hub, 1)
    assert await new.rest() == b"\x20\2\0\5"
    assert "Error while refreshing the service identity: new OnBehalfOf: leafgate-edge" in lines(hub)


async def test_unauthorized_device_is_here_alone(hub):
    """Its telemetry is dropped, its twin is the one kept here, nothing of it goes up or comes down; others work."""
    upstream = hub.gateway.upstream
    upstream.twins.update_desired("press", {"speed": 5})
    bad, good = await device(hub, RESPONSES, COMMANDS, METHODS), await device(hub, RESPONSES, name="mill")
    upstream.link.unauthorized.add("press")
    bad.send(p.publish(body=b"bad"))
    assert await bad.packet() == p.puback()
    good.send(p.publish("devices/mill/messages/events/", b"good"))
    assert await good.packet() == p.puback()
    assert await twin(bad) == ("200", {"desired": {}, "reported": {}})
    assert await report(bad, heat=20) == "204"
    upstream.commands.send("press", b"go")
    await passing(hub, 40)
    await quiet(bad)
    assert (await hub.gateway.invoke_method("press", "stop")).http_status == 404
    assert [one.body for one in upstream.inbox.messages if one.module_id is None] == [b"good"]
    assert upstream.twins.get("press").reported == {}
    assert await report(good, heat=20) == "204"
    await passing(hub, 5)
    assert upstream.twins.get("mill").reported == {"heat": 20}
    assert "Non retryable exception occurred while sending message for client press." in lines(hub)


async def test_outage_is_noticed_by_an_operation_and_its_end_by_a_probe(hub):
    """The product's lines, in its order; without a message that waits, the end is noticed after two minutes."""
    leaf = await device(hub, RESPONSES, keep_alive=0)
    await passing(hub, 1)
    hub.gateway.upstream.link.switch("black-hole")
    mark = len(lines(hub))
    leaf.send(GET)
    await quiet(leaf)
    await passing(hub, 20)
    assert lines(hub)[mark:] == ["Exiting connected state", "Entering unreachable state"]
    await passing(hub, 20)
    assert lines(hub)[-1] == "Entering disconnected state"
    hub.gateway.upstream.link.switch("up")
    mark = len(lines(hub))
    await passing(hub, 119)
    assert lines(hub)[mark:] == []
    await passing(hub, 1)
    said = lines(hub)[mark:]
    assert said[:4] == [
        "Exiting disconnected state",
        "Entering connected state",
        "Received device connected callback",
        "Device connected to cloud, processing subscriptions for connected clients.",
    ]
    assert "Device scope identities refresh is ready because a refresh was signalled." in said


async def test_message_that_waits_notices_the_end_of_an_outage(hub):
    """It is sent again within a minute, and everything else follows."""
    leaf, upstream = await device(hub, RESPONSES), hub.gateway.upstream
    upstream.link.switch("refused")
    leaf.send(p.publish())
    assert await leaf.packet() == p.puback()
    await quiet(leaf)
    no_connection = "Could not get an active Iot Hub connection for client press"
    assert lines(hub)[-2:] == ["Entering disconnected state", no_connection]
    assert await report(leaf, heat=20) == "204"
    upstream.link.switch("up")
    await passing(hub, 60)
    assert "Exiting disconnected state" in lines(hub)[-20:]
    assert upstream.twins.get("press").reported == {"heat": 20}


async def test_short_outage_that_nobody_notices_loses_a_desired_change(hub):
    """Nobody asked for anything in it, so Edge Hub does not know that it missed something; the next change shows it."""
    leaf, upstream = await device(hub, RESPONSES, DESIRED, keep_alive=0), hub.gateway.upstream
    await twin(leaf)
    upstream.link.switch("refused")
    upstream.twins.update_desired("press", {"missed": 1})
    upstream.link.switch("up")
    await passing(hub, 500)
    await quiet(leaf)
    upstream.twins.update_desired("press", {"seen": 2})
    assert json.loads(p.read_publish(await leaf.packet())[2]) == {"missed": 1, "seen": 2, "$version": 3}


async def test_desired_change_in_an_outage_that_was_noticed_comes_afterwards(hub):
    """As one difference, when Edge Hub knows that the cloud is back."""
    leaf, upstream = await device(hub, RESPONSES, DESIRED, keep_alive=0), hub.gateway.upstream
    await twin(leaf)
    await passing(hub, 1)  # twins are read again once in two minutes
    upstream.link.switch("refused", noticed=True)
    upstream.twins.update_desired("press", {"speed": 1})
    upstream.twins.update_desired("press", {"speed": 2})
    upstream.link.switch("up")
    await passing(hub, 121)
    assert json.loads(p.read_publish(await leaf.packet())[2]) == {"speed": 2, "$version": 3}


async def test_probes_follow_the_setting(start):
    """ConnectivityCheckFrequencySecs; a gateway that nobody uses notices an outage by itself."""
    hub = await start(settings=Settings(connectivity_check_frequency=60))
    hub.gateway.upstream.link.switch("refused")
    await passing(hub, 59)
    assert "Entering disconnected state" not in lines(hub)
    await passing(hub, 1)
    assert "Entering disconnected state" in lines(hub)


async def test_probe_leaves_the_twin_alone(hub):
    """The dummy change of $edgeHub's reported properties is empty: its version stays."""
    await passing(hub, 1)
    before = hub.gateway.upstream.twins.get("leafgate-edge/$edgeHub")
    await passing(hub, 400)
    assert hub.gateway.upstream.twins.get("leafgate-edge/$edgeHub") is before


async def test_gateway_that_stops_in_an_outage_is_told_nothing_afterwards(hub):
    """What was under way ends with it; a line that comes back later finds nobody."""
    leaf = await device(hub, RESPONSES)
    hub.gateway.upstream.link.switch("black-hole")
    leaf.send(GET, p.publish())
    assert await leaf.packet() == p.puback()
    await hub.gateway.stop()
    mark = len(lines(hub))
    hub.gateway.upstream.link.switch("up")
    assert lines(hub)[mark:] == ["The link to IoT Hub is switched to: up"]
    assert list(hub.gateway.upstream.inbox.messages) == []


@pytest.mark.parametrize("state", ["throttled", "quota-exceeded"])
async def test_unknown_device_is_refused_at_once_when_iot_hub_refuses_to_answer(hub, state):
    """Nothing says that it belongs to this gateway; when IoT Hub answers again it comes in."""
    hub.gateway.upstream.link.switch(state)
    new = await stranger(hub)
    assert await new.rest() == b"\x20\2\0\5"
    hub.gateway.upstream.link.switch("up")
    await device(hub, name="new")


async def test_unknown_device_comes_in_later_over_a_slow_line(hub):
    """By the latency."""
    hub.gateway.upstream.link.switch("slow", latency=5)
    new = await stranger(hub)
    await passing(hub, 5)
    assert await new.packet() == b"\x20\2\0\0"
