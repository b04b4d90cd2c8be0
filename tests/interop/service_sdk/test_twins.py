"""Twins, queries, methods, configurations and jobs by the service SDKs."""

import json

import pytest
import pytest_asyncio

from tests.interop.sdk.marks import MARKS
from tests.interop.service_sdk.test_registry import MADE, refused

pytestmark = MARKS


def desired(twin):
    """The desired properties without what the hub adds."""
    return {name: value for name, value in twin["properties"]["desired"].items() if not name.startswith("$")}


@pytest_asyncio.fixture(loop_scope="session")
async def device(back):
    """A registered device."""
    await back.create_device(device="d1", proof=MADE)
    return "d1"


async def test_twin_is_read_and_merged(back, device):
    """Tags and desired properties; null deletes."""
    twin = await back.get_twin(device=device)
    assert (twin["deviceId"], twin["version"], desired(twin)) == ("d1", 1, {})
    await back.patch_twin(device=device, twin={"tags": {"a": 1}, "properties": {"desired": {"x": 1, "y": {"z": 2}}}})
    twin = await back.patch_twin(device=device, twin={"tags": {"b": 2}, "properties": {"desired": {"x": None}}})
    assert (twin["tags"], desired(twin)) == ({"a": 1, "b": 2}, {"y": {"z": 2}})


async def test_old_etag_is_refused(back, device):
    """412 and nothing has changed; the new ETag is good."""
    old = (await back.get_twin(device=device))["etag"]
    new = (await back.patch_twin(device=device, twin={"tags": {"a": 1}}, etag=old))["etag"]
    wrong = await refused(back.patch_twin(device=device, twin={"tags": {"a": 2}}, etag=old))
    assert (wrong.status, wrong.code) == (412, "PreconditionFailed")
    assert (await back.patch_twin(device=device, twin={"tags": {"a": 3}}, etag=new))["tags"] == {"a": 3}


async def test_module_has_its_own_twin(back, device):
    """Read and merged like a device's."""
    await back.create_module(device=device, module="m", proof=MADE)
    await back.patch_twin(device=device, module="m", twin={"properties": {"desired": {"x": 1}}})
    twin = await back.get_twin(device=device, module="m")
    assert (twin["moduleId"], desired(twin)) == ("m", {"x": 1})
    assert desired(await back.get_twin(device=device)) == {}


@pytest.mark.parametrize("module", [None, "m"])
async def test_twin_is_replaced(python_back, module):
    """A twin that was read and changed is put back; what it leaves out is gone. Node.js has no such call."""
    await python_back.create_device(device="d1", proof=MADE)
    if module:
        await python_back.create_module(device="d1", module=module, proof=MADE)
    here = {"device": "d1", "module": module}
    twin = await python_back.patch_twin(**here, twin={"tags": {"a": 1}, "properties": {"desired": {"x": 1, "y": 2}}})
    whole = {"tags": {"b": 1}, "properties": {"desired": {"y": 3}}}
    replaced = await python_back.replace_twin(**here, twin=whole, etag=twin["etag"])
    assert (replaced["tags"], desired(replaced)) == ({"b": 1}, {"y": 3})
    wrong = await refused(python_back.replace_twin(**here, twin=whole, etag=twin["etag"]))
    assert (wrong.status, wrong.code) == (412, "PreconditionFailed")


async def test_query_comes_in_pages(back):
    """Three results in pages of two, by the SDK's own continuation."""
    for name in ("d1", "d2", "d3"):
        await back.create_device(device=name, proof=MADE)
        await back.patch_twin(device=name, twin={"tags": {"site": "north"}})
    found = await back.query(text="SELECT * FROM devices WHERE tags.site = 'north'", size=2)
    assert [[twin["deviceId"] for twin in page] for page in found["pages"]] == [["d1", "d2"], ["d3"]]
    counted = await back.query(text="SELECT COUNT() AS n FROM devices WHERE tags.site = 'north'")
    assert counted["pages"] == [[{"n": 3}]]


async def test_query_that_is_none_is_refused(back):
    """400 with what is wrong with it."""
    wrong = await refused(back.query(text="SELECT * FORM devices"))
    assert (wrong.status, wrong.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("payload", [{"delay": 5}, "text", [1, 2]], ids=str)
async def test_method_goes_to_a_device_with_its_own_sdk(back, room, sdks, payload):
    """Service SDK, hub, gateway and device SDK: the call goes all the way and its answer back."""
    leaf = await room.open(await sdks.get("python"))
    await leaf.serve(methods={"reboot": [207, {"in": "a minute"}]})
    assert await back.method(device="dev1", name="reboot", payload=payload) == {
        "status": 207,
        "payload": {"in": "a minute"},
    }
    assert (await leaf.event("method"))["payload"] == payload
    await leaf.closed()


async def test_method_without_payload(back, room, sdks):
    """The Node.js SDK sends null then, the Python SDK an empty text; an empty answer is null for the back end."""
    leaf = await room.open(await sdks.get("python"))
    await leaf.serve(methods={"reboot": [200, None]})
    result = await back.method(device="dev1", name="reboot")
    assert (result["status"], result.get("payload")) == (200, None)
    assert (await leaf.event("method"))["payload"] == {"python": "", "node": None}[back.name]
    await leaf.closed()


async def test_method_of_a_device_that_is_not_there(back, device):
    """404 with IoT Hub's 404103 inside; the Node.js SDK knows no such error and makes a bare one of it."""
    wrong = await refused(back.method(device=device, name="reboot"))
    assert wrong.status == 404
    assert json.loads(json.loads(wrong.body)["Message"])["errorCode"] == 404103
    assert wrong.kind == {"python": "HttpOperationError", "node": "Error"}[back.name]


async def test_connection_is_counted(python_back, room, sdks):
    """A device that is connected to the gateway is connected for the back end."""
    leaf = await room.open(await sdks.get("python"))
    assert (await python_back.get_device(device="dev1"))["connectionState"] == "Connected"
    assert (await python_back.service_statistics())["connectedDeviceCount"] == 1
    await leaf.closed()


CONFIGURATION = {
    "id": "speed",
    "schemaVersion": "1.0",
    "content": {"deviceContent": {"properties.desired.speed": 3}},
    "targetCondition": "tags.site = 'north'",
    "priority": 10,
    "labels": {},
    "metrics": {"queries": {}},
}


async def test_configuration_lives(back):
    """Created, read, listed, updated by ETag, deleted."""
    await back.create_configuration(configuration=CONFIGURATION)
    found = await back.get_configuration(name="speed")
    assert (found["id"], found["priority"]) == ("speed", 10)
    assert [one["id"] for one in await back.list_configurations()] == ["speed"]
    await back.update_configuration(configuration={**CONFIGURATION, "priority": 20}, etag=found["etag"])
    assert (await back.get_configuration(name="speed"))["priority"] == 20
    stale = await refused(back.update_configuration(configuration=CONFIGURATION, etag=found["etag"]))
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    await back.delete_configuration(name="speed")
    assert (await refused(back.get_configuration(name="speed"))).status == 404


async def test_modules_of_an_edge_device_are_set(back):
    """What `az iot edge set-modules` does."""
    await back.create_device(device="e1", proof=MADE, edge=True)
    content = {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {"modules": {"filter": {"type": "docker", "status": "running"}}}},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
            "filter": {"properties.desired": {"level": 2}},
        }
    }
    await back.apply(device="e1", content=content)
    assert desired(await back.get_twin(device="e1", module="filter")) == {"level": 2}


async def test_job_changes_twins(back, device):
    """A scheduled job reaches every twin of its condition."""
    await back.schedule_twin_update(job="j1", condition="deviceId = 'd1'", twin={"etag": "*", "tags": {"done": True}})
    job = await back.get_job(job="j1")
    assert (job["jobId"], job["type"]) == ("j1", "scheduleUpdateTwin")


async def test_digital_twin_is_read(python_back):
    """A device without a model has one, too."""
    await python_back.create_device(device="d1", proof=MADE)
    assert (await python_back.digital_twin(device="d1"))["$dtId"] == "d1"


async def test_feedback_is_received(python_back, room):
    """A full batch of 64 is taken; the Python SDK keeps neither what it says nor its lock."""
    await python_back.create_device(device="d1", proof=MADE)
    commands = room.gateway.upstream.commands
    for number in range(64):
        commands.send("d1", b"x", system_properties={"message-id": str(number)}, ack="full")
        commands.complete(commands.receive("d1").lock_token)
    assert len(commands.feedback) == 64
    assert await python_back.feedback() is None
    assert len(commands.feedback) == 0
