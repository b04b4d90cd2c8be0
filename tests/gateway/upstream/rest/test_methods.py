"""Direct methods over the service API, to clients that are really connected."""

import asyncio
import json
import logging

import pytest

from tests.gateway import packets as p
from tests.gateway.client import PATIENCE

METHODS = "$iothub/methods/POST/#"


async def ready(client):
    """Let a client take methods."""
    client.send(p.subscribe((METHODS, 0)))
    await client.packet()
    return client


async def answered(client, asking, status=200, body=b"{}"):
    """The call's name and payload as the client got them, and the answer to the back end."""
    waiting = asyncio.ensure_future(asking)
    topic, _, payload = p.read_publish(await client.packet())[:3]
    name, _, request = topic.removeprefix("$iothub/methods/POST/").partition("/?$rid=")
    client.send(p.publish(f"$iothub/methods/res/{status}/?$rid={request}", body, qos=0))
    return name, payload, await waiting


class Line(logging.Handler):
    """Waits until the gateway's log has a line."""

    def __init__(self, hub, text):
        super().__init__()
        self._text = text
        self._said = asyncio.Event()
        hub.gateway.log.addHandler(self)

    def emit(self, record):
        """Look at a line."""
        if self._text in record.getMessage():
            self._said.set()

    async def wait(self):
        """Return when it was said."""
        async with asyncio.timeout(PATIENCE):
            await self._said.wait()


def inner(answer):
    """The error inside the message, which IoT Hub writes as JSON of its own."""
    assert answer.body.keys() == {"Message", "ExceptionMessage"}
    return json.loads(answer.body["Message"])


async def test_device_answers(hub, call):
    """Status and payload come back as the device gave them."""
    client = await ready(await hub.join("press"))
    asking = call("POST", "/twins/press/methods", {"methodName": "reboot", "payload": {"in": 5}})
    name, payload, answer = await answered(client, asking, 207, b'{"done":true}')
    assert (name, payload) == ("reboot", b'{"in":5}')
    assert (answer.status, answer.body) == (200, {"status": 207, "payload": {"done": True}})


async def test_payload_that_is_not_there_is_null(hub, call):
    """Without a payload the device gets `null`; an empty answer is `payload: null`."""
    client = await ready(await hub.join("press"))
    _, payload, answer = await answered(client, call("POST", "/twins/press/methods", {"methodName": "a"}), 200, b"")
    assert (payload, answer.body) == (b"null", {"status": 200, "payload": None})


async def test_module_answers(hub, call):
    """The same for a module."""
    client = await ready(await hub.join("press", "filter"))
    asking = call("POST", "/twins/press/modules/filter/methods", {"methodName": "a", "payload": "x"})
    name, payload, answer = await answered(client, asking, 200, b"1.50")
    assert (name, payload, answer.body) == ("a", b'"x"', {"status": 200, "payload": 1.5})


async def test_answer_that_is_no_json_is_told_as_text(hub, call):
    """A device that breaks the rules breaks nothing."""
    client = await ready(await hub.join("press"))
    *_, answer = await answered(client, call("POST", "/twins/press/methods", {"methodName": "a"}), 200, b"not json\xff")
    assert answer.body == {"status": 200, "payload": "not json\N{REPLACEMENT CHARACTER}"}


async def test_device_that_is_not_there(hub, call):
    """404 with IoT Hub's number 404103 inside."""
    hub.gateway.connection_string("press")
    answer = await call("POST", "/twins/press/methods", {"methodName": "a"})
    assert (answer.status, answer.headers["iothub-errorcode"]) == (404, "DeviceNotOnline")
    found = inner(answer)
    assert (found["errorCode"], found["message"]) == (404103, "Timed out waiting for device to connect.")
    assert found["info"] == {"timeout": "00:00:00"}


async def test_device_that_comes_in_time(hub, call):
    """connectTimeoutInSeconds waits for the device; its call follows three seconds after it has subscribed."""
    client = await hub.join("press")
    waits = Line(hub, "Unable to invoke method on client press because no subscription for methods found.")
    document = {"methodName": "a", "connectTimeoutInSeconds": 90}
    asking = asyncio.ensure_future(call("POST", "/twins/press/methods", document))
    await waits.wait()
    await ready(client)
    hub.clock.elapse(3)
    topic = p.read_publish(await client.packet())[0]
    client.send(p.publish(f"$iothub/methods/res/200/?$rid={topic.rpartition('=')[2]}", b"1", qos=0))
    assert (await asking).body == {"status": 200, "payload": 1}


async def test_device_that_does_not_answer(hub, call):
    """504 with IoT Hub's number 504101 inside, after the response timeout of the hub's clock."""
    client = await ready(await hub.join("press"))
    document = {"methodName": "a", "responseTimeoutInSeconds": 5}
    asking = asyncio.ensure_future(call("POST", "/twins/press/methods", document))
    await client.packet()
    hub.clock.elapse(6)
    answer = await asking
    assert (answer.status, answer.headers["iothub-errorcode"]) == (504, "GatewayTimeout")
    found = inner(answer)
    assert (found["errorCode"], found["message"]) == (504101, "Timed out waiting for the response from device.")


async def test_device_behind_a_link_that_is_down(hub, call):
    """IoT Hub does not see what the gateway sees."""
    await ready(await hub.join("press"))
    hub.gateway.upstream.online = False
    assert inner(await call("POST", "/twins/press/methods", {"methodName": "a"}))["errorCode"] == 404103


async def test_device_behind_a_hub_whose_quota_is_used_up(hub, call):
    """403 with IoT Hub's number 403002 inside."""
    await ready(await hub.join("press"))
    hub.gateway.upstream.link.switch("quota-exceeded")
    answer = await call("POST", "/twins/press/methods", {"methodName": "a"})
    assert (answer.status, answer.headers["iothub-errorcode"]) == (403, "IotHubQuotaExceeded")
    assert inner(answer)["errorCode"] == 403002


@pytest.mark.parametrize(
    ("path", "number"), [("/twins/nobody/methods", 404001), ("/twins/leafgate-edge/modules/m/methods", 404010)]
)
async def test_device_that_is_not_registered(call, path, number):
    """Unknown device, unknown module."""
    answer = await call("POST", path, {"methodName": "a"})
    assert (answer.status, inner(answer)["errorCode"]) == (404, number)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"methodName": ""},
        {"methodName": "a/b"},
        {"methodName": "\ud800"},
        {"methodName": "a" * 101},
        {"methodName": "a", "responseTimeoutInSeconds": 4},
        {"methodName": "a", "responseTimeoutInSeconds": 301},
        {"methodName": "a", "connectTimeoutInSeconds": -1},
        {"methodName": "a", "connectTimeoutInSeconds": 301},
        {"methodName": "a", "responseTimeoutInSeconds": "soon"},
        {"methodName": "a", "payload": "x" * 131_073},
        {"methodName": "a", "payload": float("inf")},
    ],
)
async def test_call_beyond_the_limits_is_refused(hub, call, document):
    """Names, timeouts and payloads that IoT Hub does not take: 400."""
    hub.gateway.connection_string("press")
    answer = await call("POST", "/twins/press/methods", document)
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")


async def test_calls_do_not_wait_for_each_other(hub, call):
    """While one device thinks, the hub goes on."""
    client = await ready(await hub.join("press"))
    asking = asyncio.ensure_future(call("POST", "/twins/press/methods", {"methodName": "slow"}))
    topic = p.read_publish(await client.packet())[0]
    assert (await call("GET", "/devices/press")).status == 200
    assert not asking.done()
    client.send(p.publish(f"$iothub/methods/res/200/?$rid={topic.rpartition('=')[2]}", b"{}", qos=0))
    assert (await asking).status == 200


async def test_call_under_way_ends_quietly_with_the_gateway(hub, call, caplog):
    """Whoever waits is cut off, and nothing is logged as a failure."""
    hub.gateway.connection_string("press")
    waits = Line(hub, "Unable to invoke method on client press because it is not connected.")
    asking = asyncio.ensure_future(
        call("POST", "/twins/press/methods", {"methodName": "a", "connectTimeoutInSeconds": 300})
    )
    await waits.wait()
    await hub.gateway.stop()
    with pytest.raises((IndexError, OSError)):  # no answer, or a connection that was reset
        await asking
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
