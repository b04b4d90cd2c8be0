"""Twins over the service API."""

import pytest

from tests.gateway import packets as p

DESIRED = "$iothub/twin/PATCH/properties/desired/#"


@pytest.fixture
async def twin(call):
    """Calls the twin of a device that is registered."""
    await call("PUT", "/devices/d1", {})

    def ask(method, document=None, **options):
        return call(method, "/twins/d1", document, **options)

    return ask


async def test_new_twin_is_empty(twin):
    """All of IoT Hub's facts, no properties; the ETag of the header is that of the body."""
    answer = await twin("GET")
    document = answer.body
    assert answer.headers["etag"] == f'"{document["etag"]}"'
    assert document["etag"] == "AAAAAAAAAAE="
    assert (document["deviceId"], document["version"], document["tags"]) == ("d1", 1, {})
    assert (document["status"], document["authenticationType"]) == ("enabled", "sas")
    assert document["properties"]["desired"].keys() == {"$metadata", "$version"}


async def test_patch_merges_and_null_deletes(twin):
    """Tags and desired properties at once; the answer is the twin as it is now."""
    await twin("PATCH", {"tags": {"a": 1, "b": {"c": 2}}, "properties": {"desired": {"x": 1, "y": {"z": 2}}}})
    answer = await twin("PATCH", {"tags": {"a": None}, "properties": {"desired": {"y": {"w": 3}, "x": None}}})
    assert answer.body["tags"] == {"b": {"c": 2}}
    desired = answer.body["properties"]["desired"]
    assert (desired["y"], desired["$version"], "x" in desired) == ({"z": 2, "w": 3}, 3, False)


@pytest.mark.parametrize(
    ("document", "tags", "desired"),
    [
        ({"properties": {"desired": None}}, {"a": 1}, {}),
        ({"tags": None}, {}, {"x": 1}),
        ({}, {"a": 1}, {"x": 1}),
        ({"properties": None}, {"a": 1}, {"x": 1}),
        ({"properties": {}}, {"a": 1}, {"x": 1}),
    ],
)
async def test_null_clears_a_section_and_nothing_leaves_it(twin, document, tags, desired):
    """`"desired": null` clears everything; a section that is not there stays."""
    await twin("PATCH", {"tags": {"a": 1}, "properties": {"desired": {"x": 1}}})
    found = (await twin("PATCH", document)).body
    assert found["tags"] == tags
    assert {name: value for name, value in found["properties"]["desired"].items() if name[0] != "$"} == desired


async def test_put_replaces(twin):
    """What is not in the new twin is gone, a section that is left out too."""
    await twin("PATCH", {"tags": {"a": 1}, "properties": {"desired": {"x": 1, "y": 2}}})
    found = (await twin("PUT", {"properties": {"desired": {"y": 3}}})).body
    assert found["tags"] == {}
    assert {name: value for name, value in found["properties"]["desired"].items() if name[0] != "$"} == {"y": 3}


async def test_twin_that_was_read_can_be_sent_back(twin):
    """$metadata, $version, reported properties and the identity's facts are read and mean nothing."""
    await twin("PATCH", {"tags": {"a": 1}, "properties": {"desired": {"x": 1}}})
    before = (await twin("GET")).body
    after = (await twin("PUT", before)).body
    assert (after["tags"], after["properties"]["desired"]["x"]) == ({"a": 1}, 1)


async def test_etag_decides(twin):
    """The twin's own ETag and the wildcard allow a change; an old one is 412 and changes nothing."""
    first = (await twin("GET")).body["etag"]
    second = (await twin("PATCH", {"tags": {"a": 1}}, headers=[("If-Match", f'"{first}"')])).body["etag"]
    stale = await twin("PATCH", {"tags": {"a": 2}}, headers=[("If-Match", f'"{first}"')])
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    assert (await twin("PUT", {"tags": {"a": 3}}, headers=[("If-Match", f'"{first}"')])).status == 412
    assert (await twin("GET")).body["tags"] == {"a": 1}
    for condition in (f'"{second}"', '"*"'):
        assert (await twin("PUT", {"tags": {"a": 4}}, headers=[("If-Match", condition)])).status == 200


@pytest.mark.parametrize(
    "document",
    [
        {"tags": {"a": "x" * 9_000}},
        {"properties": {"desired": {"a": "x" * 33_000}}},
        {"tags": {"a.b": 1}},
        {"tags": {"$x": 1}},
        {"properties": {"desired": {"a": float("nan")}}},
        {"properties": {"desired": {"a": 1 << 60}}},
        {"tags": 7},
        {"properties": {"desired": [1]}},
    ],
)
async def test_what_a_twin_cannot_hold_is_refused(twin, document):
    """Too large, a name that is none, a number that is none, the wrong type: 400, and nothing has changed."""
    before = (await twin("GET")).body
    answer = await twin("PATCH", document)
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")
    assert (await twin("GET")).body == before


async def test_refused_desired_leaves_the_tags(twin):
    """A change is made whole or not at all."""
    answer = await twin("PATCH", {"tags": {"a": 1}, "properties": {"desired": {"a.b": 1}}})
    assert answer.status == 400
    assert (await twin("GET")).body["tags"] == {}


async def test_module_has_a_twin_of_its_own(call, twin):
    """Read, merged, replaced; without the module there is none."""
    missing = await call("GET", "/twins/d1/modules/m")
    assert (missing.status, missing.code) == (404, "ModuleNotFound")
    await call("PUT", "/devices/d1/modules/m", {})
    await call("PATCH", "/twins/d1/modules/m", {"properties": {"desired": {"x": 1}}})
    found = (await call("PUT", "/twins/d1/modules/m", {"tags": {"t": 1}})).body
    assert (found["moduleId"], found["tags"]) == ("m", {"t": 1})
    assert "x" not in found["properties"]["desired"]
    assert (await twin("GET")).body["tags"] == {}


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
async def test_twin_of_nobody_is_not_found(call, method):
    """No registration, no twin."""
    answer = await call(method, "/twins/nobody", {})
    assert (answer.status, answer.code) == (404, "DeviceNotFound")


async def test_leaf_hears_of_a_change(hub, call):
    """A connected leaf gets the patch with nulls for what is gone; what it reports is seen in the twin."""
    client = await hub.join("press")
    client.send(p.subscribe((DESIRED, 0)))
    await client.packet()
    await call("PATCH", "/twins/press", {"properties": {"desired": {"speed": 3}}})
    assert p.read_publish(await client.packet())[2] == b'{"speed":3,"$version":2}'
    await call("PATCH", "/twins/press", {"properties": {"desired": None}})
    assert p.read_publish(await client.packet())[2] == b'{"speed":null,"$version":3}'
    client.send(p.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"speed": 2}', qos=0))
    await hub.turn()
    hub.gateway.push_reported()
    assert (await call("GET", "/twins/press")).body["properties"]["reported"]["speed"] == 2
