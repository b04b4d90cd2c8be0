"""Devices and modules over the service API."""

import base64

import pytest

from tests.gateway import packets as p

KEY = base64.b64encode(b"a key of sixteen").decode()
PRINT = "AB" * 20
SHA256 = "cd" * 32


async def test_device_is_created_with_keys(call):
    """An empty symmetricKey lets the hub make keys; the identity is IoT Hub's, and it has no parent."""
    answer = await call("PUT", "/devices/d1", {"deviceId": "d1", "authentication": {"symmetricKey": {}}})
    assert answer.status == 200
    device = answer.body
    assert answer.headers["etag"] == f'"{device["etag"]}"'
    keys = device["authentication"]["symmetricKey"]
    assert {len(base64.b64decode(keys[name])) for name in ("primaryKey", "secondaryKey")} == {32}
    assert device == {
        "deviceId": "d1",
        "generationId": device["generationId"],
        "etag": device["etag"],
        "status": "enabled",
        "statusReason": None,
        "statusUpdatedTime": "0001-01-01T00:00:00Z",
        "connectionState": "Disconnected",
        "connectionStateUpdatedTime": "0001-01-01T00:00:00Z",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "type": "sas",
            "symmetricKey": keys,
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
        "capabilities": {"iotEdge": False},
        "deviceScope": None,
        "parentScopes": [],
    }
    assert (await call("GET", "/devices/d1")).body == device


@pytest.mark.parametrize(
    ("proof", "kind", "keys", "thumbprints"),
    [
        ({"symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}, "sas", [KEY, KEY], [None, None]),
        ({"x509Thumbprint": {"primaryThumbprint": PRINT}}, "selfSigned", [None, None], [PRINT, None]),
        (
            {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": PRINT, "secondaryThumbprint": SHA256}},
            "selfSigned",
            [None, None],
            [PRINT, SHA256],
        ),
        ({"type": "certificateAuthority"}, "certificateAuthority", [None, None], [None, None]),
        ({"type": "none"}, "none", [None, None], [None, None]),
    ],
)
async def test_each_way_to_authenticate(call, proof, kind, keys, thumbprints):
    """Keys, thumbprints, an authority, nothing: as IoT Hub knows them; without a type it follows from the rest."""
    found = (await call("PUT", "/devices/d1", {"authentication": proof})).body["authentication"]
    assert found["type"] == kind
    assert list(found["symmetricKey"].values()) == keys
    assert list(found["x509Thumbprint"].values()) == thumbprints


async def test_taken_id_is_a_conflict(call):
    """Creating twice: 409, and the first stays."""
    first = (await call("PUT", "/devices/d1", {})).body
    answer = await call("PUT", "/devices/d1", {"status": "disabled"})
    assert (answer.status, answer.code) == (409, "DeviceAlreadyExists")
    assert (await call("GET", "/devices/d1")).body == first


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "%C3%A4", "a" * 129, "a%5Cb", "a%00b"])
async def test_invalid_id_is_refused(call, name):
    """A blank, a slash, an umlaut, 129 characters, a NUL: 400."""
    answer = await call("PUT", f"/devices/{name}", {})
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("name", ["%23a", "a%3A%3D%40%24%27", "a%2525", "Z" * 128])
async def test_odd_but_valid_id_is_accepted(call, name):
    """Everything that IoT Hub allows in an id comes through the path."""
    device = (await call("PUT", f"/devices/{name}", {})).body
    assert (await call("GET", f"/devices/{name}")).body == device


@pytest.mark.parametrize("named", ["other", "D1"])
async def test_id_in_the_body_has_to_be_the_paths(call, named):
    """Two ids that differ, if only in case, are refused."""
    assert (await call("PUT", "/devices/d1", {"deviceId": named})).code == "ArgumentInvalid"


@pytest.mark.parametrize(
    "proof",
    [
        {"symmetricKey": {"primaryKey": "not base64!"}},
        {"type": "selfSigned"},
        {"x509Thumbprint": {"primaryThumbprint": "12"}},
        {"x509Thumbprint": {"primaryThumbprint": "Z" * 40}},
    ],
)
async def test_proof_that_is_none_is_refused(call, proof):
    """A key that is no base64, a certificate without thumbprint, a thumbprint that is none."""
    answer = await call("PUT", "/devices/d1", {"authentication": proof})
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")
    assert (await call("GET", "/devices/d1")).status == 404


@pytest.mark.parametrize("condition", ['"*"', "*"])
async def test_wildcard_updates_whatever_is_there(call, condition):
    """Both SDKs send the wildcard in quotes."""
    await call("PUT", "/devices/d1", {})
    answer = await call("PUT", "/devices/d1", {"status": "disabled"}, headers=[("If-Match", condition)])
    assert (answer.status, answer.body["status"]) == (200, "disabled")


async def test_etag_decides_over_an_update(call):
    """The device's own ETag, quoted or not, updates; an old one is 412 and changes nothing."""
    first = (await call("PUT", "/devices/d1", {})).body["etag"]
    second = await call("PUT", "/devices/d1", {"statusReason": "a"}, headers=[("If-Match", f'"{first}"')])
    assert second.body["statusReason"] == "a"
    stale = await call("PUT", "/devices/d1", {"statusReason": "b"}, headers=[("If-Match", f'"{first}"')])
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    bare = await call("PUT", "/devices/d1", {}, headers=[("If-Match", second.body["etag"])])
    assert (bare.status, bare.body["statusReason"]) == (200, None)


async def test_update_keeps_keys_that_it_does_not_mention(call):
    """Without `authentication` the proof stays; the generation always does."""
    before = (await call("PUT", "/devices/d1", {})).body
    after = (await call("PUT", "/devices/d1", {"status": "disabled"}, headers=[("If-Match", '"*"')])).body
    assert after["authentication"] == before["authentication"]
    assert after["generationId"] == before["generationId"]
    assert after["etag"] != before["etag"]


@pytest.mark.parametrize(("method", "document"), [("GET", None), ("DELETE", None), ("PUT", {})])
async def test_unknown_device_is_not_found(call, method, document):
    """Reading, deleting and updating what is not there."""
    answer = await call(method, "/devices/d1", document, headers=[("If-Match", '"*"')])
    assert (answer.status, answer.code) == (404, "DeviceNotFound")


async def test_deleted_device_takes_everything_along(hub, call):
    """Its modules, its twin and its messages are gone; registered anew it is another generation."""
    before = (await call("PUT", "/devices/d1", {})).body
    await call("PUT", "/devices/d1/modules/m", {})
    await call("PATCH", "/twins/d1", {"tags": {"a": 1}})
    hub.gateway.upstream.commands.send("d1", b"x")
    wrong = await call("DELETE", "/devices/d1", headers=[("If-Match", '"AAAA"')])
    assert (wrong.status, wrong.code) == (412, "PreconditionFailed")
    answer = await call("DELETE", "/devices/d1", headers=[("If-Match", f'"{before["etag"]}"')])
    assert (answer.status, answer.body) == (204, None)
    assert (await call("GET", "/twins/d1")).status == 404
    after = (await call("PUT", "/devices/d1", {})).body
    assert (after["generationId"] == before["generationId"], after["cloudToDeviceMessageCount"]) == (False, 0)
    assert (await call("GET", "/devices/d1/modules")).body == []
    assert (await call("GET", "/twins/d1")).body["tags"] == {}


async def test_devices_are_listed_as_far_as_asked(call):
    """`top` cuts the list; one that is not 1 to 1000 means 1000; the Node.js SDK asks with a slash at the end."""
    for name in ("d1", "d2"):
        await call("PUT", f"/devices/{name}", {})

    async def ids(query, path="/devices"):
        answer = await call("GET", path, query=f"{query}api-version=2021-04-12")
        return [device["deviceId"] for device in answer.body]

    everything = ["leafgate-edge", "d1", "d2"]
    assert await ids("top=2&") == everything[:2]
    assert await ids("") == await ids("top=0&") == await ids("top=-5&") == await ids("top=1001&") == everything
    assert await ids("", "/devices/") == everything
    assert (await call("GET", "/devices", query="top=x&api-version=2021-04-12")).code == "ArgumentInvalid"


async def test_edge_device_gets_its_scope_and_its_modules(call):
    """IoT Hub makes an edge device's deviceScope, and $edgeAgent and $edgeHub with it."""
    edge = (await call("PUT", "/devices/e1", {"capabilities": {"iotEdge": True}})).body
    assert edge["capabilities"] == {"iotEdge": True}
    assert edge["deviceScope"] == f"ms-azure-iot-edge://e1-{edge['generationId']}"
    assert edge["parentScopes"] == []
    modules = (await call("GET", "/devices/e1/modules")).body
    assert [(one["moduleId"], one["managedBy"]) for one in modules] == [
        ("$edgeAgent", "iotEdge"),
        ("$edgeHub", "iotEdge"),
    ]


async def test_child_has_its_parents_scope(hub, call):
    """A leaf below the gateway's own edge device may connect through it; without scope in an update it may not."""
    scope = (await call("GET", "/devices/leafgate-edge")).body["deviceScope"]
    leaf = (await call("PUT", "/devices/d1", {"deviceScope": scope})).body
    assert (leaf["deviceScope"], leaf["parentScopes"]) == (scope, [scope])
    assert hub.gateway.registry.in_scope("d1") is not None
    nested = {"capabilities": {"iotEdge": True}, "parentScopes": [scope]}
    edge = (await call("PUT", "/devices/e1", nested)).body
    assert edge["parentScopes"] == [scope]
    assert edge["deviceScope"].startswith("ms-azure-iot-edge://e1-")
    orphan = (await call("PUT", "/devices/d1", {}, headers=[("If-Match", '"*"')])).body
    assert (orphan["deviceScope"], orphan["parentScopes"]) == (None, [])
    assert hub.gateway.registry.in_scope("d1") is None


async def test_scope_that_is_none_is_refused(call):
    """A leaf's deviceScope that no edge device has: 400, on create and on update."""
    scope = {"deviceScope": "5ab8ee5d-2b6f-4d3c-9c2f-6d0f5e4a1b2c"}
    assert (await call("PUT", "/devices/d1", scope)).code == "ArgumentInvalid"
    await call("PUT", "/devices/d1", {})
    answer = await call("PUT", "/devices/d1", scope, headers=[("If-Match", '"*"')])
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")


async def test_module_lives_with_its_device(call):
    """Created with 201, shown, updated by ETag, deleted with 204."""
    await call("PUT", "/devices/d1", {})
    created = await call("PUT", "/devices/d1/modules/m", {"moduleId": "m", "deviceId": "d1", "managedBy": "us"})
    assert (created.status, created.body["managedBy"], created.body["connectionState"]) == (201, "us", "Disconnected")
    assert (await call("GET", "/devices/d1/modules")).body == [created.body]
    twice = await call("PUT", "/devices/d1/modules/m", {})
    assert (twice.status, twice.body["errorCode"]) == (409, 409301)
    assert twice.headers["iothub-errorcode"] == "ModuleAlreadyExistsOnDevice"
    stale = await call("PUT", "/devices/d1/modules/m", {}, headers=[("If-Match", '"AAAA"')])
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    etag = created.body["etag"]
    updated = await call("PUT", "/devices/d1/modules/m", {"managedBy": "you"}, headers=[("If-Match", f'"{etag}"')])
    assert (updated.status, updated.body["managedBy"]) == (200, "you")
    assert updated.body["authentication"] == created.body["authentication"]
    assert (await call("DELETE", "/devices/d1/modules/m", headers=[("If-Match", '"*"')])).status == 204
    gone = await call("GET", "/devices/d1/modules/m")
    assert (gone.status, gone.code) == (404, "ModuleNotFound")


async def test_module_of_nobody_is_not_found(call):
    """The device has to be there, for each call."""
    for method, path in (("GET", "/devices/d1/modules"), ("PUT", "/devices/d1/modules/m")):
        answer = await call(method, path, {})
        assert (answer.status, answer.code) == (404, "DeviceNotFound")


async def test_device_has_fifty_modules_at_most(call):
    """The fifty-first is refused."""
    await call("PUT", "/devices/d1", {})
    items = [{"id": "d1", "moduleId": f"m{number}", "importMode": "create"} for number in range(50)]
    assert (await call("POST", "/devices", items)).body["isSuccessful"]
    answer = await call("PUT", "/devices/d1/modules/m50", {})
    assert (answer.status, answer.code) == (413, "TooManyModulesOnDevice")


async def test_statistics_count(call):
    """Devices and not modules, the gateway's own edge device among them."""
    await call("PUT", "/devices/d1", {"status": "disabled"})
    await call("PUT", "/devices/d1/modules/m", {})
    assert (await call("GET", "/statistics/devices")).body == {
        "totalDeviceCount": 2,
        "enabledDeviceCount": 1,
        "disabledDeviceCount": 1,
    }


async def test_connection_is_seen(hub, call):
    """A leaf that is connected to the gateway is connected for IoT Hub, unless the link is down."""

    async def seen():
        state = (await call("GET", "/devices/press")).body["connectionState"]
        twin = (await call("GET", "/twins/press")).body["connectionState"]
        assert twin == state
        return state, (await call("GET", "/statistics/service")).body["connectedDeviceCount"]

    hub.gateway.connection_string("press")
    assert await seen() == ("Disconnected", 0)
    client = await hub.join("press")
    assert await seen() == ("Connected", 1)
    hub.gateway.upstream.online = False
    assert await seen() == ("Disconnected", 0)
    hub.gateway.upstream.online = True
    client.abort()


async def test_deleted_device_is_dropped_when_the_scope_is_refreshed(hub, call):
    """A connected leaf that the cloud forgets goes on until Edge Hub asks for its scope."""
    client = await hub.join("press")
    await call("DELETE", "/devices/press", headers=[("If-Match", '"*"')])
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    hub.gateway.refresh_scope()
    await client.eof()


async def test_disabled_device_is_dropped_when_the_scope_is_refreshed(hub, call):
    """What the cloud decides reaches a connected leaf when Edge Hub asks for its scope."""
    client = await hub.join("press")
    scope = (await call("GET", "/devices/press")).body["deviceScope"]
    await call("PUT", "/devices/press", {"status": "disabled", "deviceScope": scope}, headers=[("If-Match", '"*"')])
    hub.gateway.refresh_scope()
    await client.eof()
