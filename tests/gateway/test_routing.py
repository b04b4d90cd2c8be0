"""Routes, outages and the twin of $edgeHub on a running gateway."""

import json

import pytest

from gateway import Settings
from gateway.events import ClientDisconnected
from tests.gateway import packets as p

HUB_TWIN = "leafgate-edge/$edgeHub"
TO_FILTER = 'FROM /messages/* WHERE hot = "yes" INTO BrokeredEndpoint("/modules/filter/inputs/in")'


def configure(hub, version="1.1", /, *, ttl=-1, limits=None, **routes):
    """Set the desired properties of $edgeHub; routes that there were go."""
    before = hub.gateway.upstream.twins.get(HUB_TWIN).desired.get("routes", {})
    section = {"timeToLiveSecs": ttl} | ({"storeLimits": limits} if limits else {})
    desired = {
        "schemaVersion": version,
        "routes": dict.fromkeys(before) | routes,
        "storeAndForwardConfiguration": section,
    }
    hub.gateway.upstream.twins.update_desired(HUB_TWIN, desired)


def reported(hub):
    """What $edgeHub has reported."""
    return hub.gateway.upstream.twins.get(HUB_TWIN).reported


def bodies(hub):
    """What has arrived upstream."""
    return [one.body for one in hub.gateway.upstream.inbox.messages]


async def publish(client, *contents, bag=""):
    """Publish and wait for each PUBACK."""
    for number, body in enumerate(contents, 1):
        client.send(p.publish(f"devices/press/messages/events/{bag}", body, packet_id=number))
        assert await client.packet() == p.puback(number)


async def filter_module(hub):
    """The module `filter` of this gateway, listening."""
    client = await hub.join("leafgate-edge", "filter")
    client.send(p.subscribe(("devices/leafgate-edge/modules/filter/inputs/#", 1)))
    await client.packet()
    return client


async def test_without_a_configuration_everything_goes_upstream(hub):
    """As Edge Hub is shipped; nothing is reported about a configuration that there is not."""
    await publish(await hub.join(), b"1", bag="hot=yes")
    assert bodies(hub) == [b"1"]
    assert "lastDesiredStatus" not in reported(hub)


async def test_desired_properties_of_edgehub_route_from_the_next_message_on(hub):
    """A route that fits goes up, what fits none is dropped though acknowledged, and the status is reported."""
    leaf = await hub.join()
    configure(hub, hot='FROM /messages/* WHERE hot = "yes" INTO $upstream')
    await publish(leaf, b"cold", bag="hot=no")
    await publish(leaf, b"hot", bag="hot=yes")
    assert bodies(hub) == [b"hot"]
    assert reported(hub)["lastDesiredStatus"] == {"code": 200, "description": ""}
    assert reported(hub)["lastDesiredVersion"] == 2


@pytest.mark.parametrize(
    ("version", "route", "said"),
    [
        ("1.1", "FROM /messages/* WHERE x > INTO $upstream", "routes.bad: 1:28: INTO does not belong here"),
        ("7.0", "FROM /* INTO $upstream", "schemaVersion: 7.0 is not supported"),
    ],
)
async def test_configuration_that_cannot_be_used_leaves_the_old_routes(hub, version, route, said):
    """Status 400 with what is wrong and where; messages go on as before."""
    leaf = await hub.join()
    configure(hub, hot='FROM /messages/* WHERE hot = "yes" INTO $upstream')
    configure(hub, version, bad=route)
    await publish(leaf, b"cold", bag="hot=no")
    await publish(leaf, b"hot", bag="hot=yes")
    assert bodies(hub) == [b"hot"]
    status = reported(hub)["lastDesiredStatus"]
    assert status["code"] == 400
    assert said in status["description"]


async def test_message_goes_to_a_module_and_to_the_cloud(hub):
    """Two routes, two endpoints; the module gets it on its input with its properties and its sender."""
    configure(hub, cloud="FROM /messages/* INTO $upstream", hot=TO_FILTER)
    module = await filter_module(hub)
    await publish(await hub.join(), b"1", bag="hot=yes")
    topic, _, body = p.read_publish(await module.packet())
    assert (topic, body) == ("devices/leafgate-edge/modules/filter/inputs/in/hot=yes&%24.cdid=press", b"1")
    assert bodies(hub) == [b"1"]


async def test_messages_wait_for_a_module_that_is_not_there(hub):
    """When it has subscribed they come, in order, each after the PUBACK of the one before."""
    configure(hub, hot=TO_FILTER)
    await publish(await hub.join(), b"1", b"2", bag="hot=yes")
    module = await filter_module(hub)
    for body in (b"1", b"2"):
        assert p.read_publish(await module.packet())[2] == body
        module.send(p.puback())
    assert bodies(hub) == []


async def test_outage_keeps_everything_in_order(hub):
    """Leaves are acknowledged and stay; afterwards all of it arrives, once and in order."""
    leaf = await hub.join()
    for state in ("refused", "dns-gone", "throttled", "quota-exceeded", "black-hole"):
        hub.gateway.upstream.link.switch(state)
        await publish(leaf, *(f"{state}-{n}".encode() for n in range(3)))
        assert state.encode() not in b"".join(bodies(hub))
        hub.gateway.upstream.link.switch("up")
        hub.clock.advance(61)  # a throttled hub is asked again after a minute at the latest
        await hub.turn()
    expected = [f"{state}-{n}".encode() for state in ("refused", "dns-gone", "throttled") for n in range(3)]
    assert bodies(hub)[:9] == expected
    assert len(bodies(hub)) == 15
    assert not hub.of(ClientDisconnected)


async def test_what_outlives_its_time_in_an_outage_does_not_arrive(hub):
    """The clean-up every half hour drops it; what was being sent already is sent."""
    configure(hub, ttl=3600, cloud="FROM /messages/* INTO $upstream")
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, b"being sent", b"too old", b"too old as well")
    hub.clock.advance(1800)
    await publish(leaf, b"young")
    hub.clock.advance(1801)
    await hub.turn()
    hub.gateway.upstream.online = True
    assert bodies(hub) == [b"being sent", b"young"]


async def test_urgent_route_goes_first_after_an_outage(hub):
    """Priority 0 before 9, whatever came first."""
    configure(
        hub,
        slow={"route": 'FROM /messages/* WHERE alarm = "no" INTO $upstream', "priority": 9},
        fast={"route": 'FROM /messages/* WHERE alarm = "yes" INTO $upstream', "priority": 0},
    )
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, b"first", b"second", bag="alarm=no")
    await publish(leaf, b"alarm", bag="alarm=yes")
    hub.gateway.upstream.online = True
    assert bodies(hub) == [b"first", b"alarm", b"second"]  # the first was being sent when the alarm came


async def test_restart_offline_loses_nothing(start, tmp_path):
    """A gateway that is stopped in an outage sends everything when it runs again, queue by queue."""
    hub = await start(state=tmp_path)
    configure(hub, cloud="FROM /messages/* INTO $upstream", hot=TO_FILTER)
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, b"1", b"2", b"3", bag="hot=yes")
    await hub.close()
    again = await start(state=tmp_path)
    assert bodies(again) == [b"1", b"2", b"3"]
    module = await filter_module(again)
    assert p.read_publish(await module.packet())[2] == b"1"


async def test_edgehub_reports_its_clients(hub):
    """Who is connected and who has left, with the time; a second late at most."""
    leaf = await hub.join()
    hub.clock.advance(1)
    await hub.turn()
    assert reported(hub)["clients"]["press"]["status"] == "Connected"
    leaf.send(p.DISCONNECT)
    await hub.event(ClientDisconnected)
    hub.clock.advance(1)
    await hub.turn()
    client = reported(hub)["clients"]["press"]
    assert client["status"] == "Disconnected"
    assert client["lastDisconnectedTimeUtc"] > client["lastConnectedTimeUtc"]


async def test_edgehub_reports_after_an_outage_what_happened_in_it(hub):
    """Nothing is reported while IoT Hub cannot be reached; then the newest state is."""
    leaf = await hub.join()
    hub.clock.advance(1)
    await hub.turn()
    hub.gateway.upstream.link.switch("refused")
    leaf.send(p.DISCONNECT)
    await hub.event(ClientDisconnected)
    hub.clock.advance(1)
    await hub.turn()
    assert reported(hub)["clients"]["press"]["status"] == "Connected"
    configure(hub, none="FROM /messages/modules/none/* INTO $upstream")
    hub.gateway.upstream.online = True
    assert reported(hub)["clients"]["press"]["status"] == "Disconnected"
    assert reported(hub)["lastDesiredStatus"]["code"] == 200


async def test_message_of_a_deleted_device_does_not_hold_up_the_others(start):
    """Unless device states are not tracked, as before 1.1.1: then everybody waits for ever."""
    for track, expected in ((True, [b"good"]), (False, [])):
        hub = await start(settings=Settings(track_device_state=track))
        bad, good = await hub.join("bad"), await hub.join("press")
        hub.gateway.upstream.link.unauthorized.add("bad")
        bad.send(p.publish("devices/bad/messages/events/", b"bad", packet_id=7))
        assert await bad.packet() == p.puback(7)
        await publish(good, b"good")
        hub.clock.advance(5)
        await hub.turn()
        assert bodies(hub) == expected


async def report(client, change, request_id="1"):
    """Report properties and wait for the answer."""
    client.send(p.publish(f"$iothub/twin/PATCH/properties/reported/?$rid={request_id}", change, packet_id=9))
    assert await client.packet() == p.puback(9)
    assert p.read_publish(await client.packet())[:1] == (f"$iothub/twin/res/204/?$rid={request_id}",)


async def test_change_of_reported_properties_is_a_message_for_routes(hub):
    """Into a module, which sees who made it; $edgeHub itself makes none with what it reports."""
    configure(hub, changes="FROM /twinChangeNotifications INTO BrokeredEndpoint('/modules/filter/inputs/twins')")
    module = await filter_module(hub)
    leaf = await hub.join()
    leaf.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await leaf.packet()
    await report(leaf, b'{"fan":{"speed":3}}')
    topic, _, body = p.read_publish(await module.packet())
    assert topic == (
        "devices/leafgate-edge/modules/filter/inputs/twins/"
        "%24.schema=twinChangeNotification&%24.cdid=press&%24.cmid=%24edgeHub"
    )
    assert body == b'{"fan":{"speed":3}}'
    assert bodies(hub) == []
    hub.clock.elapse(5)
    await hub.turn()
    assert hub.gateway.upstream.twins.get("press").reported == {"fan": {"speed": 3}}
    module.send(p.puback())
    await report(leaf, b'{"fan":null}', "2")
    assert p.read_publish(await module.packet())[2] == b'{"fan":null}'


async def test_change_of_a_modules_properties_names_the_module(hub):
    """$.cdid and $.cmid are the client's that has changed something."""
    configure(hub, changes="FROM /twinChangeNotifications/* INTO BrokeredEndpoint('/modules/filter/inputs/twins')")
    module = await filter_module(hub)
    module.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await module.packet()
    module.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=", b'{"on":true}', packet_id=9))
    assert await module.packet() == p.puback(9)
    topic, _, _ = p.read_publish(await module.packet())
    assert topic.endswith("%24.cdid=leafgate-edge&%24.cmid=filter")


async def test_shipped_route_sends_changes_upstream_from_edgehub(hub):
    """`FROM /*` takes them, too: as messages of $edgeHub, without a word of whose properties they are."""
    leaf = await hub.join()
    leaf.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await leaf.packet()
    await report(leaf, b'{"a":1}')
    (message,) = hub.gateway.upstream.inbox.messages
    assert (message.device_id, message.module_id, message.body) == ("leafgate-edge", "$edgeHub", b'{"a":1}')
    assert message.system_properties == {"iothub-message-schema": "twinChangeNotification"}
    configure(hub, cloud="FROM /messages/* INTO $upstream")
    await report(leaf, b'{"a":2}', "2")
    assert len(bodies(hub)) == 1
    assert hub.gateway.dropped == {}  # a change that no route takes does not count


async def test_conditions_about_a_change_are_undefined(hub):
    """The product gives such a message no content type, so twin_change_includes is never true at an Edge Hub."""
    configure(
        hub,
        one="FROM /twinChangeNotifications WHERE twin_change_includes(properties.reported.a) INTO $upstream",
        two="FROM /twinChangeNotifications WHERE $messageSchema = 'twinChangeNotification' AND "
        "$rpSenderDeviceId = 'press' INTO $upstream",
    )
    for device in ("press", "mill"):
        leaf = await hub.join(device)
        leaf.send(p.subscribe(("$iothub/twin/res/#", 0)))
        await leaf.packet()
        await report(leaf, b'{"properties":{"reported":{"a":"%s"}}}' % device.encode())
    assert bodies(hub) == [b'{"properties":{"reported":{"a":"press"}}}']


async def test_change_that_cannot_be_stored_is_answered_500(hub, monkeypatch):
    """The twin has it, routes do not; the client stays connected."""
    leaf = await hub.join()
    leaf.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await leaf.packet()
    configure(
        hub,
        changes="FROM /twinChangeNotifications INTO BrokeredEndpoint('/modules/filter/inputs/twins')",
        limits={"maxSizeBytes": 1},
    )
    leaf.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"a":1}', packet_id=9))
    assert await leaf.packet() == p.puback(9)
    assert p.read_publish(await leaf.packet())[0] == "$iothub/twin/res/500/?$rid=1"
    hub.clock.elapse(5)
    await hub.turn()
    assert hub.gateway.upstream.twins.get("press").reported == {"a": 1}
    assert not hub.of(ClientDisconnected)


async def test_message_that_no_route_takes_is_counted(hub):
    """It is acknowledged all the same; the counter is the product's messages_dropped with the reason no_route."""
    configure(hub, hot='FROM /messages/* WHERE hot = "yes" INTO $upstream')
    leaf = await hub.join()
    await publish(leaf, b"1", b"2", bag="hot=no")
    await publish(leaf, b"3", bag="hot=yes")
    assert (hub.gateway.dropped, bodies(hub)) == ({"no_route": 2}, [b"3"])


async def test_routes_look_into_the_body(hub):
    """With content type and encoding a condition can ask for what is in it."""
    configure(hub, warm="FROM /messages/* WHERE $body.t > 30 INTO $upstream")
    leaf = await hub.join()
    bag = "%24.ct=application%2Fjson&%24.ce=utf-8"
    await publish(leaf, json.dumps({"t": 31}).encode(), json.dumps({"t": 29}).encode(), bag=bag)
    await publish(leaf, json.dumps({"t": 99}).encode())
    assert bodies(hub) == [b'{"t": 31}']
