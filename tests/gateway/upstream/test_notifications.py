"""What IoT Hub itself tells in the feed, through a whole gateway."""

import json

import pytest

from gateway import Settings
from tests.gateway import packets as p


def told(hub, source):
    """The messages of that source."""
    return [one for one in hub.gateway.upstream.feed.read(0).events if one.source == source]


def bodies(hub, source, device="press"):
    """Operation and body of each message of that source about a device."""
    messages = [one for one in told(hub, source) if one.device_id == device]
    return [(one.properties["opType"], one.json()) for one in messages]


async def test_reported_change_is_told_as_it_reached_the_cloud(hub):
    """The patch with its nulls, the twin's version, and IoT Hub's properties."""
    client = await hub.join()
    client.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"a":1,"gone":null,"deep":{"b":null}}'))
    await client.packet()
    hub.gateway.push_reported()
    (event,) = [one for one in told(hub, "twinChangeEvents") if one.device_id == "press"]
    assert event.json() == {"version": 2, "properties": {"reported": {"a": 1, "gone": None, "deep": {"b": None}}}}
    assert dict(event.properties) == {
        "hubName": "hub",
        "deviceId": "press",
        "operationTimestamp": "2023-11-14T22:13:20.0000000Z",
        "iothub-message-schema": "twinChangeNotification",
        "opType": "updateTwin",
    }
    system = dict(event.system_properties)
    assert len(system.pop("correlation-id")) == 36
    assert system == {"content-type": "application/json", "content-encoding": "utf-8", "user-id": "hub"}
    assert event.annotations["iothub-message-source"] == "twinChangeEvents"
    assert "iothub-connection-auth-method" not in event.annotations
    assert (event.gateway_sequence, event.gateway_time) == (None, None)


async def test_change_by_a_back_end_is_told_in_one_message(hub):
    """Tags and desired properties together; a module's says whose it is."""
    hub.gateway.connection_string("press", "filter")
    hub.gateway.upstream.twins.update("press/filter", tags={"hall": 2}, desired={"speed": 5, "old": None})
    (event,) = told(hub, "twinChangeEvents")
    assert event.json() == {
        "version": 2,
        "tags": {"hall": 2},
        "properties": {"desired": {"speed": 5, "old": None}},
    }
    assert (event.properties["deviceId"], event.properties["moduleId"]) == ("press", "filter")
    assert (event.device_id, event.module_id) == ("press", "filter")


async def test_twin_that_is_replaced_is_told_whole(hub):
    """With metadata, as a back end reads it."""
    hub.gateway.connection_string("press")
    hub.gateway.upstream.twins.replace_desired("press", {"speed": 5})
    assert bodies(hub, "twinChangeEvents") == [("replaceTwin", hub.gateway.upstream.twins.document("press"))]


async def test_change_that_is_refused_is_not_told(hub):
    """Nothing has happened."""
    from gateway import TwinRefusedError

    with pytest.raises(TwinRefusedError):
        hub.gateway.upstream.twins.update_desired("press", {"a": "x" * 40_000})
    assert told(hub, "twinChangeEvents") == []


async def test_only_changes_of_twins_are_told_unless_asked_for(start):
    """Identities and connections make no messages by default; and twins make none when that is switched off."""
    hub = await start(settings=Settings(twin_change_events=False))
    await hub.join()
    hub.gateway.upstream.twins.update_desired("press", {"a": 1})
    hub.gateway.remove_device("press")
    assert hub.gateway.upstream.feed.read(0).events == []


async def test_identities_are_told_with_their_twins(start):
    """Created and deleted, a device and its module; the twin is still there to be told when it is deleted."""
    hub = await start(settings=Settings(device_lifecycle_events=True))
    hub.gateway.connection_string("press", "filter")
    hub.gateway.upstream.twins.update_tags("press", {"hall": 2})
    hub.gateway.remove_device("press")
    events = told(hub, "deviceLifecycleEvents")
    assert [(one.properties["opType"], one.device_id, one.module_id) for one in events] == [
        ("createDeviceIdentity", "press", None),
        ("createDeviceIdentity", "press", "filter"),
        ("deleteDeviceIdentity", "press", "filter"),
        ("deleteDeviceIdentity", "press", None),
    ]
    assert {one.properties["iothub-message-schema"] for one in events} == {"deviceLifecycleNotification"}
    assert events[0].json()["properties"]["desired"]["$version"] == 1
    assert (events[1].json()["moduleId"], events[3].json()["tags"]) == ("filter", {"hall": 2})


async def test_connections_are_told_with_numbers_that_grow(start):
    """Connected and disconnected once each, also when a newcomer takes over; a clock set back changes nothing."""
    hub = await start(settings=Settings(device_connection_state_events=True))
    first = await hub.join()
    await hub.join()
    await first.eof()
    hub.clock.step(-3_600)
    (second,) = hub._clients[1:]
    second.send(p.DISCONNECT)
    await second.eof()
    await hub.turn()
    events = bodies(hub, "deviceConnectionStateEvents")
    assert [operation for operation, _ in events] == ["deviceConnected", "deviceDisconnected"]
    numbers = [body["sequenceNumber"] for _, body in events]
    assert [len(number) for number in numbers] == [64, 64]
    assert numbers == sorted(set(numbers))
    assert json.dumps(numbers[0]).isupper()
