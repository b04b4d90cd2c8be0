"""Twins as a device sees them: GET, reported, desired, over real TLS."""

import asyncio
import json

import pytest

from gateway import Settings
from gateway.events import ClientDisconnected
from tests.gateway import packets as p

RESPONSES = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
REPORTED = "$iothub/twin/PATCH/properties/reported/?$rid="


async def listener(hub, *filters, qos=1, **options):
    """A connected device with these subscriptions."""
    client = await hub.join(**options)
    client.send(p.subscribe(*((name, qos) for name in filters)))
    assert await client.packet() == b"\x90" + bytes([2 + len(filters)]) + b"\0\1" + bytes([qos]) * len(filters)
    return client


def twin_of(packet):
    """Topic, QoS and JSON body of a PUBLISH."""
    topic, qos, body = p.read_publish(packet)
    return topic, qos, json.loads(body) if body else None


async def test_twin_get_is_answered_after_its_puback(hub):
    """PUBACK, then 200 on the topic with the request's id: desired and reported with their versions."""
    twins = hub.gateway.upstream.twins
    twins.update_desired("press", {"speed": 5})
    twins.update_reported("press", {"heat": {"now": 20.5}})
    client = await listener(hub, RESPONSES)
    client.send(p.publish("$iothub/twin/GET/?$rid=ab-1", b" ", packet_id=9))
    assert await client.packet() == p.puback(9)
    assert twin_of(await client.packet()) == (
        "$iothub/twin/res/200/?$rid=ab-1",
        1,
        {"desired": {"speed": 5, "$version": 2}, "reported": {"heat": {"now": 20.5}, "$version": 2}},
    )


@pytest.mark.parametrize("module", [None, "filter"])
async def test_each_identity_has_its_own_twin(hub, module):
    """A module's twin is not its device's."""
    hub.gateway.upstream.twins.update_desired("press/filter" if module else "press", {"mine": True})
    hub.gateway.upstream.twins.update_desired("press" if module else "press/filter", {"yours": True})
    client = await listener(hub, RESPONSES, module_id=module)
    client.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    assert twin_of(await client.packet())[2]["desired"] == {"mine": True, "$version": 2}


async def test_twin_answer_reaches_a_client_that_never_subscribed(hub):
    """Without a subscription the answer comes with QoS 0: the SDKs subscribe once in a session's life and wait."""
    client = await hub.join()
    client.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    assert twin_of(await client.packet())[:2] == ("$iothub/twin/res/200/?$rid=1", 0)


async def test_request_id_that_is_too_long_for_an_answer_gets_none(hub):
    """The answer's topic is longer than the request's; the connection goes on."""
    client = await listener(hub, RESPONSES)
    longest = "$iothub/twin/GET/?$rid=".ljust(65_535, "1")
    client.send(p.publish(longest, b"", qos=0), p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def test_reported_properties_are_answered_here_and_go_up(hub):
    """204 without a version and without a body, at once; the first change goes up at once, too."""
    client = await listener(hub, RESPONSES)
    client.send(p.publish(REPORTED + "1", b'{"heat":20,"old":{"a":1}}'))
    assert await client.packet() == p.puback()
    assert p.read_publish(await client.packet()) == ("$iothub/twin/res/204/?$rid=1", 1, b"")
    assert hub.gateway.upstream.twins.get("press").reported == {"heat": 20, "old": {"a": 1}}


async def test_reported_changes_are_gathered_for_five_seconds(hub):
    """Within ReportedPropertiesSyncFrequencySecs changes are merged, deletions included, and go up together."""
    client, twins = await listener(hub, RESPONSES), hub.gateway.upstream.twins
    for number, body in enumerate([b'{"a":1}', b'{"a":2,"b":1}', b'{"b":null,"c":3}']):
        client.send(p.publish(REPORTED + str(number), body))
        await client.packets(2)
    assert (twins.get("press").reported, twins.get("press").reported_version) == ({"a": 1}, 2)
    hub.clock.elapse(5)
    client.send(p.PINGREQ)
    await client.packet()
    assert (twins.get("press").reported, twins.get("press").reported_version) == ({"a": 2, "c": 3}, 3)


async def test_reported_changes_that_the_cloud_refuses_hold_up_nobody(hub):
    """Each is small enough, together they are not: logged when they go up; other clients' changes go on."""
    greedy, modest = await listener(hub, RESPONSES), await listener(hub, RESPONSES, device_id="mill")
    for number in range(3):
        change = json.dumps({f"{number}-{part}": "x" * 4_000 for part in range(5)}).encode()
        greedy.send(p.publish(f"{REPORTED}{number}", change, qos=0))
        assert twin_of(await greedy.packet())[0] == f"$iothub/twin/res/204/?$rid={number}"
    modest.send(p.publish(f"{REPORTED}1", b'{"a":1}', qos=0))
    await modest.packet()
    hub.gateway.push_reported()
    assert len(hub.gateway.upstream.twins.get("press").reported) == 5
    assert hub.gateway.upstream.twins.get("mill").reported == {"a": 1}
    assert "Updating reported properties failed press" in hub.log.getvalue()


async def test_reported_changes_go_up_when_the_gateway_stops(hub):
    """Nothing that was answered 204 is lost by an orderly stop."""
    client = await listener(hub, RESPONSES)
    for number in range(2):
        client.send(p.publish(REPORTED + "1", json.dumps({"a": number}).encode()))
        await client.packets(2)
    await hub.gateway.stop()
    assert hub.gateway.upstream.twins.get("press").reported == {"a": 1}


async def test_reported_change_without_a_request_id_gets_no_answer(hub):
    """PUBACK alone."""
    client = await listener(hub, RESPONSES)
    client.send(p.publish("$iothub/twin/PATCH/properties/reported/", b'{"a":1}'), p.PINGREQ)
    assert sorted(await client.packets(2)) == sorted([p.puback(), p.PINGRESP])
    assert hub.gateway.upstream.twins.get("press").reported == {"a": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a b":1}', 400),
        (b'{"a":[null]}', 400),
        (b"", 400),
        (b"{", 500),
        (b"[" * 100_000, 500),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", None),
        (b"5", 400),
    ],
)
async def test_reported_change_that_is_refused(hub, body, status):
    """400 for what the validator objects to, 500 for what cannot be read; no body, as the product; nothing goes up."""
    client = await listener(hub, RESPONSES)
    client.send(p.publish(REPORTED + "1", body))
    assert await client.packet() == p.puback()
    topic, _, answer = p.read_publish(await client.packet())
    assert answer == b""
    if status is not None:
        assert topic == f"$iothub/twin/res/{status}/?$rid=1"
        assert hub.gateway.upstream.twins.get("press").reported == {}


async def test_strict_answers_as_iot_hub_does(start):
    """The new version with a 204, a JSON body with a refusal."""
    hub = await start(settings=Settings(strict=True))
    client = await listener(hub, RESPONSES)
    client.send(p.publish(REPORTED + "1", b'{"a":1}', qos=0), p.publish(REPORTED + "2", b'{"a b":1}', qos=0))
    first, second = [p.read_publish(one) for one in await client.packets(2)]
    assert first == ("$iothub/twin/res/204/?$rid=1&$version=2", 1, b"")
    assert second[0] == "$iothub/twin/res/400/?$rid=2"
    error = json.loads(second[2])
    assert (error["errorCode"], "invalid character ' '" in error["message"]) == (400_004, True)


async def test_strict_refuses_what_the_cloud_refuses(start):
    """A change that makes the whole twin too large, or one while the cloud is away, is answered, not left open."""
    hub = await start(settings=Settings(strict=True))
    client = await listener(hub, RESPONSES)
    statuses = []
    for number in range(10):
        change = json.dumps({f"p{number}": "x" * 4_000}).encode()
        client.send(p.publish(REPORTED + "1", change, qos=0))
        statuses.append(p.read_publish(await client.packet())[0].split("/")[3])
    assert statuses == ["204"] * 8 + ["400"] * 2
    hub.gateway.upstream.online = False
    client.send(p.publish(REPORTED + "1", b'{"p0":null}', qos=0))
    assert p.read_publish(await client.packet())[0] == "$iothub/twin/res/500/?$rid=1"


async def test_changes_that_wait_for_the_cloud_are_bounded(hub):
    """A megabyte of them; then they are refused with 500 until the cloud is back."""
    client = await listener(hub, RESPONSES, qos=0)
    hub.gateway.upstream.online = False
    statuses = []
    for number in range(300):
        client.send(p.publish(REPORTED + "1", json.dumps({f"p{number}": "x" * 4_000}).encode(), qos=0))
        statuses.append(p.read_publish(await client.packet())[0].split("/")[3])
    assert set(statuses[:260]) == {"204"}
    assert set(statuses[-30:]) == {"500"}


async def test_desired_change_is_told_to_who_subscribed(hub):
    """The patch with its version in topic and body, with the QoS granted; nulls for what is gone."""
    client = await listener(hub, DESIRED, qos=0)
    twins = hub.gateway.upstream.twins
    twins.update_desired("press", {"speed": 5, "mode": {"on": True}})
    twins.update_desired("press", {"mode": None})
    assert [twin_of(one) for one in await client.packets(2)] == [
        ("$iothub/twin/PATCH/properties/desired/?$version=2", 0, {"speed": 5, "mode": {"on": True}, "$version": 2}),
        ("$iothub/twin/PATCH/properties/desired/?$version=3", 0, {"mode": None, "$version": 3}),
    ]


async def test_desired_change_is_not_told_to_others(hub):
    """No subscription, or another device: the next packet is the answer to a ping."""
    silent, other = await hub.join(), await listener(hub, DESIRED, device_id="mill")
    hub.gateway.upstream.twins.update_desired("press", {"speed": 5})
    for client in (silent, other):
        client.send(p.PINGREQ)
        assert await client.packet() == p.PINGRESP


async def test_replaced_desired_properties_come_as_a_patch(hub):
    """PUT: a null for each property that is gone."""
    twins = hub.gateway.upstream.twins
    twins.update_desired("press", {"a": 1, "b": {"c": 1, "d": 2}})
    client = await listener(hub, DESIRED)
    twins.replace_desired("press", {"b": {"c": 3}})
    assert twin_of(await client.packet())[2] == {"a": None, "b": {"d": None, "c": 3}, "$version": 3}


async def test_gap_in_desired_versions_is_closed(hub):
    """A change that does not follow on what the hub knows makes it read the twin and send the difference."""
    twins = hub.gateway.upstream.twins
    client = await listener(hub, RESPONSES)
    client.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    await client.packet()  # now the hub knows version 1
    twins.update_desired("press", {"missed": 1})
    client.send(p.subscribe((DESIRED, 1)))
    await client.packet()
    twins.update_desired("press", {"seen": 2})
    assert twin_of(await client.packet()) == (
        "$iothub/twin/PATCH/properties/desired/?$version=3",
        1,
        {"missed": 1, "seen": 2, "$version": 3},
    )
    twins.update_desired("press", {"seen": 3})
    assert twin_of(await client.packet())[2] == {"seen": 3, "$version": 4}


async def test_twin_is_answered_from_here_while_the_cloud_is_away(hub):
    """What was seen last, else an empty twin, with 200 always; reported changes wait and go up afterwards."""
    upstream = hub.gateway.upstream
    upstream.twins.update_desired("press", {"speed": 5})
    client, stranger = await listener(hub, RESPONSES), await listener(hub, RESPONSES, device_id="mill")
    get = p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0)
    client.send(get)
    before = await client.packet()
    upstream.online = False
    client.send(p.publish(REPORTED + "2", b'{"a":1}', qos=0))
    assert p.read_publish(await client.packet())[0] == "$iothub/twin/res/204/?$rid=2"
    client.send(get)
    assert twin_of(await client.packet())[2] == twin_of(before)[2] | {"reported": {"a": 1, "$version": 1}}
    stranger.send(get)
    assert twin_of(await stranger.packet()) == ("$iothub/twin/res/200/?$rid=1", 1, {"desired": {}, "reported": {}})
    assert upstream.twins.get("press").reported == {}
    upstream.online = True
    assert upstream.twins.get("press").reported == {"a": 1}


async def test_desired_changes_missed_in_an_outage_follow_once_in_two_minutes(hub):
    """After an outage the difference is sent, unless the twin was read within MinTwinSyncPeriodSecs."""
    upstream = hub.gateway.upstream
    client = await listener(hub, RESPONSES, DESIRED)
    client.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    await client.packet()
    upstream.online = False
    upstream.twins.update_desired("press", {"a": 1})
    upstream.online = True
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    upstream.online = False
    hub.clock.advance(121)
    upstream.online = True
    assert twin_of(await client.packet())[2] == {"a": 1, "$version": 2}


async def test_device_that_does_not_read_is_caught_up_with(hub):
    """Desired changes do not pile up for a client that does not read; when it reads again it gets the difference."""
    client = await listener(hub, RESPONSES, DESIRED, qos=0, dialled={"receive_buffer": 2_048})
    twins = hub.gateway.upstream.twins
    client.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    await client.packet()
    (connection,) = hub.gateway._process.server.connections
    version = 1
    while connection.writable:
        version = twins.update_desired("press", {"n": "x" * 4_000 + str(version)})
        await asyncio.sleep(0)  # the gateway sends once per turn of the loop
    stuck = version
    for _ in range(1_000):
        version = twins.update_desired("press", {"n": str(version)})
    assert connection._transport.get_write_buffer_size() < 200_000
    seen = []
    while not seen or seen[-1]["$version"] < version:
        seen.append(twin_of(await client.packet())[2])
    assert seen[-1] == {"n": str(version - 1), "$version": version}
    assert len(seen) <= stuck + 1


async def test_surplus_client_gets_no_twin(start):
    """Beyond MaxConnectedClients a client is connected and may send telemetry, and nothing reaches it."""
    hub = await start(settings=Settings(max_connected_clients=1))
    first, second = await listener(hub, RESPONSES), await listener(hub, RESPONSES, device_id="mill")
    second.send(p.publish("devices/mill/messages/events/"), p.publish("$iothub/twin/GET/?$rid=1", b"", packet_id=2))
    assert await second.packets(2) == [p.puback(1), p.puback(2)]
    first.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0))
    assert twin_of(await first.packet())[0] == "$iothub/twin/res/200/?$rid=1"
    second.send(p.PINGREQ)
    assert await second.packet() == p.PINGRESP
    assert [one.device_id for one in hub.gateway.upstream.inbox.messages] == ["mill"]
    cause = "Edge hub already has maximum allowed clients (1) connected."
    assert f"[ERR] - Error binding device proxy for device mill: {cause}" in hub.log.getvalue()
    first.abort()
    await hub.event(ClientDisconnected, peer=first.peer)
    await listener(hub, RESPONSES, device_id="drill")


async def test_unexpected_puback_is_ignored_and_told(hub):
    """An id that was never sent, or nothing left to acknowledge: a warning, and the connection goes on."""
    client = await listener(hub, DESIRED)
    client.send(p.puback(1), p.puback(7), p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    assert "[WRN] - #1 was received while #1 was expected., press, " in hub.log.getvalue()
    assert "[WRN] - #7 was received while #1 was expected., press, " in hub.log.getvalue()


async def test_client_that_never_acknowledges_is_held_back(hub):
    """A thousand messages may be unacknowledged; then nothing more is sent until it acknowledges."""
    client, twins = await listener(hub, DESIRED), hub.gateway.upstream.twins
    for number in range(1_200):
        twins.update_desired("press", {"n": number})
    assert len(await client.packets(1_000)) == 1_000
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
