"""Digital twins over the service API, with a device that connects with a model."""

import pytest

from tests.gateway import packets as p

MODEL = "dtmi:com:example:TemperatureController;1"
USERNAME = "hub.leafgate.test/press/?api-version=2021-04-12&model-id=dtmi%3Acom%3Aexample%3ATemperatureController%3B1"


@pytest.fixture
async def leaf(hub):
    """A connected device with that model, which takes methods."""
    leaf = await hub.join(username=USERNAME)
    leaf.send(p.subscribe(("$iothub/methods/POST/#", 0)))
    await leaf.packet()
    return leaf


async def answer_method(leaf, status, body):
    """Answer the next call; its method and payload."""
    topic, payload = p.read_publish(await leaf.packet())[::2]
    leaf.send(p.publish(f"$iothub/methods/res/{status}/?$rid={topic.partition('$rid=')[2]}", body, qos=0))
    return topic.partition("/?")[0].removeprefix("$iothub/methods/POST/"), payload


@pytest.mark.usefixtures("leaf")
async def test_model_of_the_connection_is_that_of_the_twin(call):
    """In the digital twin and in the device twin."""
    answer = await call("GET", "/digitaltwins/press")
    assert (answer.status, answer.body) == (200, {"$dtId": "press", "$metadata": {"$model": MODEL}})
    assert answer.headers["etag"] == '"AAAAAAAAAAE="'
    assert (await call("GET", "/twins/press")).body["modelId"] == MODEL


async def test_model_is_told_when_the_link_is_back(hub, call):
    """Who has connected meanwhile is announced then."""
    hub.gateway.connection_string("press")
    hub.gateway.refresh_scope()
    hub.gateway.upstream.online = False
    await hub.join(username=USERNAME)
    assert (await call("GET", "/digitaltwins/press")).body["$metadata"]["$model"] == ""
    hub.gateway.upstream.online = True
    assert (await call("GET", "/digitaltwins/press")).body["$metadata"]["$model"] == MODEL


@pytest.mark.usefixtures("leaf")
async def test_patch_is_accepted_and_sets_desired_values(call):
    """202 with the new ETag and where the twin is; a stale ETag is refused."""
    patch = [{"op": "add", "path": "/thermostat1", "value": {"targetTemperature": 21.4, "$metadata": {}}}]
    answer = await call("PATCH", "/digitaltwins/press", patch, headers=[("If-Match", '"AAAAAAAAAAE="')])
    assert (answer.status, answer.body, answer.headers["etag"]) == (202, None, '"AAAAAAAAAAI="')
    assert answer.headers["location"].endswith("/digitaltwins/press")
    twin = (await call("GET", "/twins/press")).body
    assert twin["properties"]["desired"]["thermostat1"] == {"__t": "c", "targetTemperature": 21.4}
    digital = (await call("GET", "/digitaltwins/press")).body
    assert digital["thermostat1"]["$metadata"]["targetTemperature"] == {"desiredValue": 21.4, "desiredVersion": 2}
    stale = await call("PATCH", "/digitaltwins/press", patch, headers=[("If-Match", '"AAAAAAAAAAE="')])
    assert (stale.status, stale.code) == (412, "PreconditionFailed")


async def test_patch_that_is_refused(hub, call):
    """In IoT Hub's words; an unknown device is 404."""
    hub.gateway.connection_string("press")
    patch = [{"op": "replace", "path": "/nothing", "value": 1}]
    answer = await call("PATCH", "/digitaltwins/press", patch)
    assert (answer.status, answer.code) == (400, "InvalidDigitalTwinPatch")
    answer = await call("PATCH", "/digitaltwins/nobody", patch)
    assert (answer.status, answer.code) == (404, "DeviceNotFound")


@pytest.mark.parametrize(
    ("path", "method"),
    [("commands/reboot", "reboot"), ("components/thermostat1/commands/getMaxMinReport", "thermostat1*getMaxMinReport")],
)
async def test_command_is_a_method_and_its_answer_the_body(together, leaf, call, path, method):
    """The device's status is a header; that of a component has its name in front."""
    query = "api-version=2021-04-12&connectTimeoutInSeconds=0&responseTimeoutInSeconds=5"
    answer, called = await together(
        call("POST", f"/digitaltwins/press/{path}", {"in": 5}, query=query), answer_method(leaf, 201, b'{"ok":true}')
    )
    assert called == (method, b'{"in":5}')
    assert (answer.status, answer.body, answer.headers["x-ms-command-statuscode"]) == (200, {"ok": True}, "201")


async def test_command_without_payload_and_answer(together, leaf, call):
    """null goes out, and null comes back."""
    answer, called = await together(call("POST", "/digitaltwins/press/commands/reboot"), answer_method(leaf, 200, b""))
    assert (called, answer.status, answer.body) == (("reboot", b"null"), 200, None)


async def test_command_for_nobody(hub, call):
    """404 for a device that is not registered, or not connected; 400 for a timeout that IoT Hub does not take."""
    hub.gateway.connection_string("press")
    unknown = await call("POST", "/digitaltwins/nobody/commands/reboot")
    assert (unknown.status, unknown.code) == (404, "DeviceNotFound")
    away = await call("POST", "/digitaltwins/press/commands/reboot")
    assert (away.status, away.headers["iothub-errorcode"]) == (404, "DeviceNotOnline")
    query = "api-version=2021-04-12&responseTimeoutInSeconds=301"
    wrong = await call("POST", "/digitaltwins/press/commands/reboot", query=query)
    assert (wrong.status, wrong.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize(("policy", "status"), [("service", 200), ("registryReadWrite", 401), ("device", 401)])
async def test_who_may_see_digital_twins(hub, call, policy, status):
    """ServiceConnect is needed."""
    hub.gateway.connection_string("press")
    assert (await call("GET", "/digitaltwins/press", auth=call.token(policy))).status == status
