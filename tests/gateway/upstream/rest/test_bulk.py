"""Many changes of the registry at once."""

import pytest


async def test_devices_are_created_at_once(call):
    """Each with its keys, its tags and its desired properties; a module after its device."""
    items = [
        {"id": "d1", "importMode": "create", "status": "disabled", "tags": {"a": 1}},
        {"id": "d2", "importMode": "Create", "properties": {"desired": {"x": 1}}},
        {"id": "d2", "moduleId": "m", "importMode": "create", "managedBy": "us"},
        {"id": "e1", "importMode": "create", "capabilities": {"iotEdge": True}},
    ]
    answer = await call("POST", "/devices", items)
    assert (answer.status, answer.body) == (200, {"isSuccessful": True, "errors": [], "warnings": []})
    assert (await call("GET", "/devices/d1")).body["status"] == "disabled"
    assert (await call("GET", "/twins/d1")).body["tags"] == {"a": 1}
    assert (await call("GET", "/twins/d2")).body["properties"]["desired"]["x"] == 1
    assert (await call("GET", "/devices/d2/modules/m")).body["managedBy"] == "us"
    assert len((await call("GET", "/devices/e1/modules")).body) == 2


async def test_refused_changes_are_told_and_the_others_made(call):
    """400 with one error for each change that was refused, and the rest is done."""
    await call("PUT", "/devices/d1", {})
    items = [
        {"id": "d1", "importMode": "create"},
        {"id": "d2", "importMode": "create"},
        {"id": "a b", "importMode": "create"},
        {"id": "d4", "importMode": "update"},
        {"id": "d5", "importMode": "delete"},
        {"id": "d6", "importMode": "create", "deviceScope": "none"},
        {"id": "d7", "moduleId": "m", "importMode": "create"},
    ]
    answer = await call("POST", "/devices", items)
    assert (answer.status, answer.body["isSuccessful"], answer.body["warnings"]) == (400, False, [])
    assert [(error["deviceId"], error["errorCode"], error["operation"]) for error in answer.body["errors"]] == [
        ("d1", "DeviceAlreadyExists", "create"),
        ("a b", "ArgumentInvalid", "create"),
        ("d4", "DeviceNotFound", "update"),
        ("d5", "DeviceNotFound", "delete"),
        ("d6", "ArgumentInvalid", "create"),
        ("d7", "DeviceNotFound", "create"),
    ]
    assert all(error["errorStatus"] for error in answer.body["errors"])
    assert answer.body["errors"][-1]["moduleId"] == "m"
    assert (await call("GET", "/devices/d2")).status == 200


async def test_device_whose_twin_is_refused_is_not_created(call):
    """Each change is made whole or not at all."""
    answer = await call("POST", "/devices", [{"id": "d1", "importMode": "create", "tags": {"a.b": 1}}])
    assert [error["errorCode"] for error in answer.body["errors"]] == ["ArgumentInvalid"]
    assert (await call("GET", "/devices/d1")).status == 404


@pytest.mark.parametrize("name", ["eTag", "etag"])
async def test_stale_etag_refuses(call, name):
    """updateIfMatchETag and deleteIfMatchETag compare; update and delete do not."""
    old = (await call("PUT", "/devices/d1", {})).body["etag"]
    new = (await call("PUT", "/devices/d1", {}, headers=[("If-Match", '"*"')])).body["etag"]

    async def code(mode, etag):
        answer = await call("POST", "/devices", [{"id": "d1", "importMode": mode, name: etag}])
        return [error["errorCode"] for error in answer.body["errors"]]

    assert await code("updateIfMatchETag", old) == ["PreconditionFailed"]
    assert await code("deleteIfMatchETag", old) == ["PreconditionFailed"]
    assert await code("updateIfMatchETag", None) == ["PreconditionFailed"]
    assert await code("updateIfMatchETag", new) == []
    assert await code("update", old) == []
    assert await code("delete", old) == []
    assert (await call("GET", "/devices/d1")).status == 404


async def test_twins_are_changed_at_once(call):
    """updateTwin merges, updateTwinIfMatchETag only into the twin that it knows."""
    await call("PUT", "/devices/d1", {})
    etag = (await call("GET", "/twins/d1")).body["etag"]
    item = {"id": "d1", "importMode": "updateTwin", "tags": {"a": 1}}
    assert (await call("POST", "/devices", [item])).status == 200
    stale = {**item, "importMode": "updateTwinIfMatchETag", "twinETag": etag, "tags": {"a": 2}}
    answer = await call("POST", "/devices", [stale])
    assert [error["errorCode"] for error in answer.body["errors"]] == ["PreconditionFailed"]
    fresh = {**stale, "twinETag": (await call("GET", "/twins/d1")).body["etag"]}
    assert (await call("POST", "/devices", [fresh])).status == 200
    assert (await call("GET", "/twins/d1")).body["tags"] == {"a": 2}


async def test_device_that_is_named_twice_is_left_alone(call):
    """Which of two changes is meant nobody knows."""
    items = [{"id": "d1", "importMode": "create"}, {"id": "d1", "importMode": "delete"}]
    answer = await call("POST", "/devices", items)
    assert [error["errorCode"] for error in answer.body["errors"]] == ["DeviceDefinedMultipleTimes"] * 2
    assert (await call("GET", "/devices/d1")).status == 404


async def test_more_than_a_hundred_are_refused(call):
    """The whole request, and nothing is made."""
    items = [{"id": f"d{number}", "importMode": "create"} for number in range(101)]
    answer = await call("POST", "/devices", items)
    assert (answer.status, answer.code) == (413, "TooManyDevices")
    assert (await call("GET", "/devices/d0")).status == 404
    assert (await call("POST", "/devices", items[:100])).status == 200


@pytest.mark.parametrize("items", [{}, [{}], [{"id": 5}], [{"id": "d1", "importMode": "upsert"}], ["d1"]])
async def test_wrong_request_is_refused_whole(call, items):
    """No array, no id, a mode that does not exist."""
    answer = await call("POST", "/devices", items)
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")
