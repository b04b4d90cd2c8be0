"""Configurations, deployments and `az iot edge set-modules` over the service API, down to the running gateway."""

import pytest

from tests.gateway import packets as p

HOT = 'FROM /messages/* WHERE hot = "yes" INTO $upstream'
EDGE = "leafgate-edge"
CHILLER = {
    "id": "chiller",
    "content": {"deviceContent": {"properties.desired.water": {"temperature": 38}}},
    "targetCondition": "tags.environment='test'",
    "priority": 10,
}


def modules(routes):
    """The content of an edge deployment with these routes."""
    hub = {"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}
    agent = {"schemaVersion": "1.1", "modules": {}, "systemModules": {}}
    return {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": agent},
            "$edgeHub": {"properties.desired": hub},
        }
    }


async def sent(hub, client, *bags):
    """Publish one message for each property bag; what has arrived of them."""
    before = len(hub.gateway.upstream.inbox.messages)
    for number, bag in enumerate(bags, 1):
        client.send(p.publish(f"devices/press/messages/events/{bag}", bag.encode(), packet_id=number))
        assert await client.packet() == p.puback(number)
    await hub.turn()
    return [one.body.decode() for one in hub.gateway.upstream.inbox.messages[before:]]


async def test_life_of_a_configuration(call):
    """Created, read, listed, updated by ETag, deleted; ETags are quoted in headers and bare in bodies."""
    created = await call("PUT", "/configurations/chiller", CHILLER)
    assert (created.status, created.headers["etag"], created.body["etag"]) == (201, '"MQ=="', "MQ==")
    again = await call("PUT", "/configurations/chiller", CHILLER)
    assert (again.status, again.code) == (409, "ConfigurationAlreadyExists")
    changed = CHILLER | {"priority": 11}
    updated = await call("PUT", "/configurations/chiller", changed, headers=[("If-Match", '"MQ=="')])
    assert (updated.status, updated.body["priority"], updated.body["etag"]) == (200, 11, "Mg==")
    stale = await call("PUT", "/configurations/chiller", changed, headers=[("If-Match", '"MQ=="')])
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    assert (await call("GET", "/configurations/chiller")).body == updated.body
    assert (await call("GET", "/configurations")).body == [updated.body]
    deleted = await call("DELETE", "/configurations/chiller", headers=[("If-Match", '"*"')])
    assert (deleted.status, deleted.body) == (204, None)
    gone = await call("GET", "/configurations/chiller")
    assert (gone.status, gone.code) == (404, "ConfigurationNotFound")


async def test_list_takes_top(call):
    """As many as asked for, in the order of ids."""
    for name in ("c", "a", "b"):
        await call("PUT", f"/configurations/{name}", CHILLER | {"id": name})
    answer = await call("GET", "/configurations", query="api-version=2021-04-12&top=2")
    assert [one["id"] for one in answer.body] == ["a", "b"]


async def test_queries_are_tried(call):
    """200 in any case; what is wrong is in the body."""
    answer = await call(
        "POST", "/configurations/testQueries", {"targetCondition": "from devices.modules where tags.a=9"}
    )
    assert (answer.status, answer.body) == (200, {})
    answer = await call("POST", "/configurations/testQueries", {"targetCondition": "tags.a=="})
    assert answer.status == 200
    assert answer.body["targetConditionError"].startswith(
        "SQL query parse failed due to following errors: \n\tLine 1:8 Unexpected input at '='"
    )


async def test_connected_device_gets_its_configuration(hub, call):
    """As a change of its desired properties, when its tags bring it under the condition."""
    leaf = await hub.join()
    leaf.send(p.subscribe(("$iothub/twin/PATCH/properties/desired/#", 0)))
    await leaf.packet()
    await call("PUT", "/configurations/chiller", CHILLER)
    await call("PATCH", "/twins/press", {"tags": {"environment": "test"}})
    topic, body = p.read_publish(await leaf.packet())[::2]
    assert topic == "$iothub/twin/PATCH/properties/desired/?$version=2"
    assert body == b'{"water":{"temperature":38},"$version":2}'
    metrics = (await call("GET", "/configurations/chiller")).body["systemMetrics"]["results"]
    assert metrics == {"targetedCount": 1, "appliedCount": 1}
    twin = (await call("GET", "/twins/press")).body
    assert twin["configurations"] == {"chiller": {"status": "Applied"}}


async def test_set_modules_changes_the_routes_of_the_running_gateway(hub, call):
    """From the next message on, and $edgeHub reports that it has taken them."""
    leaf = await hub.join()
    assert await sent(hub, leaf, "hot=yes", "hot=no") == ["hot=yes", "hot=no"]
    path = f"/devices/{EDGE}/applyConfigurationContent"
    answer = await call("POST", path, modules({"hot": HOT}))
    assert (answer.status, answer.body) == (204, None)
    assert await sent(hub, leaf, "hot=yes", "hot=no") == ["hot=yes"]
    twin = (await call("GET", f"/twins/{EDGE}/modules/$edgeHub")).body
    assert twin["properties"]["reported"]["lastDesiredStatus"] == {"code": 200, "description": ""}
    assert twin["properties"]["desired"]["routes"] == {"hot": HOT}
    await call("POST", path, modules({"none": "FROM /messages/modules/x/* INTO $upstream"}))
    assert await sent(hub, leaf, "hot=yes", "hot=no") == []


async def test_deployment_changes_the_routes_and_the_next_one_takes_over(hub, call):
    """By priority, and again when it is deleted."""
    leaf = await hub.join()
    body = {"content": modules({"all": "FROM /* INTO $upstream"}), "targetCondition": "*", "priority": 1}
    await call("PUT", "/configurations/all", body)
    await call("PUT", "/configurations/hot", body | {"content": modules({"hot": HOT}), "priority": 2})
    assert await sent(hub, leaf, "hot=yes", "hot=no") == ["hot=yes"]
    await call("DELETE", "/configurations/hot")
    assert await sent(hub, leaf, "hot=yes", "hot=no") == ["hot=yes", "hot=no"]


async def test_route_that_does_not_parse_is_reported_and_the_old_ones_stay(hub, call):
    """IoT Hub takes the content; Edge Hub says what it thinks of it."""
    leaf = await hub.join()
    path = f"/devices/{EDGE}/applyConfigurationContent"
    await call("POST", path, modules({"hot": HOT}))
    assert (await call("POST", path, modules({"bad": "FROM /messages/* WHERE INTO $upstream"}))).status == 204
    assert await sent(hub, leaf, "hot=yes", "hot=no") == ["hot=yes"]
    reported = (await call("GET", f"/twins/{EDGE}/modules/$edgeHub")).body["properties"]["reported"]
    assert reported["lastDesiredStatus"]["code"] == 400


@pytest.mark.parametrize(
    ("device_id", "content", "expected"),
    [
        ("nobody", modules({}), (404, "DeviceNotFound")),
        ("leaf", modules({}), (400, "ArgumentInvalid")),
        (EDGE, {"modulesContent": {"$edgeHub": {"properties.desired": {}}}}, (400, "InvalidConfigurationContent")),
        (EDGE, [], (400, "ArgumentInvalid")),
    ],
)
async def test_set_modules_that_is_refused(hub, call, device_id, content, expected):
    """In IoT Hub's words."""
    hub.gateway.connection_string("leaf")
    answer = await call("POST", f"/devices/{device_id}/applyConfigurationContent", content)
    assert (answer.status, answer.code) == expected


@pytest.mark.parametrize(
    ("policy", "read", "write"),
    [("registryRead", 200, 401), ("registryReadWrite", 200, 201), ("service", 401, 401), ("device", 401, 401)],
)
async def test_who_may_read_and_write_configurations(call, policy, read, write):
    """As with the registry."""
    auth = call.token(policy)
    assert (await call("GET", "/configurations", auth=auth)).status == read
    assert (await call("PUT", "/configurations/chiller", CHILLER, auth=auth)).status == write
