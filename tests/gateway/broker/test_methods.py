"""Direct methods over real TLS: calls, answers, and what happens without one."""

import asyncio
import json

import pytest

from gateway import GatewayError
from gateway.events import ClientDisconnected
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE

METHODS = "$iothub/methods/POST/#"


async def callee(hub, device_id="press", module_id=None, *, qos=0, **options):
    """A connected device or module that takes calls."""
    client = await hub.join(device_id, module_id, **options)
    client.send(p.subscribe((METHODS, qos)))
    await client.packet()
    return client


def calling(hub, *arguments, **options):
    """A call that is under way."""
    return asyncio.ensure_future(hub.gateway.invoke_method(*arguments, **options))


async def called(client):
    """The method's name, its request id and payload, as the client gets them."""
    topic, qos, body = p.read_publish(await client.packet())
    _, _, _, name, query = topic.split("/")
    assert topic.startswith("$iothub/methods/POST/")
    assert query.startswith("?$rid=")
    return name, query.removeprefix("?$rid="), json.loads(body), qos


def answer(request_id, status="200", body=b'{"done":true}', **options):
    """A client's answer."""
    return p.publish(f"$iothub/methods/res/{status}/?$rid={request_id}", body, **options)


async def result_of(call):
    """What became of a call."""
    async with asyncio.timeout(PATIENCE):
        return await call


@pytest.mark.parametrize("module", [None, "filter"])
@pytest.mark.parametrize("qos", [0, 1])
async def test_method_goes_to_the_client_and_its_answer_back(hub, module, qos):
    """Name, payload and a request id go down with the QoS granted; status and payload come back."""
    client = await callee(hub, "press", module, qos=qos)
    call = calling(hub, "press", "reboot", {"delay": 5}, module_id=module)
    name, request_id, payload, sent_qos = await called(client)
    assert (name, payload, sent_qos) == ("reboot", {"delay": 5}, qos)
    client.send(answer(request_id.upper(), "207"))
    assert await client.packet() == p.puback()
    result = await result_of(call)
    assert (result.http_status, result.status, result.json()) == (200, 207, {"done": True})


async def test_method_without_a_payload_carries_null(hub):
    """Node's SDK answers an empty payload with an error of its own."""
    client = await callee(hub)
    call = calling(hub, "press", "reboot")
    _, request_id, payload, _ = await called(client)
    assert payload is None
    client.send(answer(request_id, body=b"", qos=0))
    assert (await result_of(call)).json() is None


@pytest.mark.parametrize("status", ["", "ok", "1.5", "99999999999", "2147483648"])
async def test_answer_with_a_status_that_is_no_number_is_400000(hub, status):
    """The product answers its caller with 400000 and without the payload."""
    client = await callee(hub)
    call = calling(hub, "press", "reboot")
    _, request_id, _, _ = await called(client)
    client.send(answer(request_id, status))
    result = await result_of(call)
    assert (result.http_status, result.status, result.payload) == (200, 400_000, b"")


async def test_answer_of_another_client_or_with_another_id_is_ignored(hub):
    """It is acknowledged; the call goes on waiting for the right one."""
    client, other = await callee(hub), await callee(hub, "mill")
    call = calling(hub, "press", "reboot")
    _, request_id, _, _ = await called(client)
    other.send(answer(request_id, "201"))
    client.send(answer("nonsense", "202"))
    assert [await one.packet() for one in (other, client)] == [p.puback(), p.puback()]
    assert not call.done()
    client.send(answer(request_id, "203"))
    assert (await result_of(call)).status == 203


@pytest.mark.parametrize("there", [True, False])
async def test_method_for_a_client_that_is_not_there_is_404(hub, there):
    """Not connected, or connected without a subscription: 404 at once, with a warning that tells which."""
    if there:
        await hub.join()
    result = await result_of(calling(hub, "press", "reboot"))
    assert (result.http_status, result.status, result.message) == (404, None, "Client press not found")
    because = "no subscription for methods found" if there else "it is not connected"
    assert f"[WRN] - Unable to invoke method on client press because {because}." in hub.log.getvalue()


async def test_method_waits_for_a_client_as_long_as_it_may(hub):
    """With a connect timeout the call waits; a client that subscribes in time gets it three seconds later."""
    call = calling(hub, "press", "reboot", connect_timeout=10)
    await asyncio.sleep(0)
    client = await callee(hub)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    hub.clock.elapse(3)
    _, request_id, _, _ = await called(client)
    client.send(answer(request_id))
    assert (await result_of(call)).status == 200


async def test_method_waits_for_a_client_in_vain(hub):
    """404 when the connect timeout is over, also for one that subscribed too late for the three seconds."""
    call = calling(hub, "press", "reboot", connect_timeout=10)
    await asyncio.sleep(0)
    hub.clock.elapse(8)
    await callee(hub)
    assert not call.done()
    hub.clock.elapse(2)
    assert (await result_of(call)).http_status == 404


async def test_method_that_is_not_answered_is_504(hub):
    """When the response timeout is over; an answer after that is ignored."""
    client = await callee(hub)
    call = calling(hub, "press", "reboot", response_timeout=5)
    _, request_id, _, _ = await called(client)
    hub.clock.elapse(4.9)
    assert not call.done()
    hub.clock.elapse(0.1)
    result = await result_of(call)
    assert (result.http_status, result.status) == (504, None)
    assert request_id in result.message
    client.send(answer(request_id))
    assert await client.packet() == p.puback()


async def test_method_does_not_survive_its_connection(hub):
    """A client that reconnects cannot answer what went out on the old connection; the call times out."""
    client = await callee(hub, clean=False)
    call = calling(hub, "press", "reboot", response_timeout=30)
    _, request_id, _, _ = await called(client)
    client.abort()
    await hub.event(ClientDisconnected)
    again = await hub.join(clean=False, present=True)
    again.send(answer(request_id))
    assert await again.packet() == p.puback()
    assert not call.done()
    hub.clock.elapse(30)
    assert (await result_of(call)).http_status == 504


async def test_method_ends_when_another_connection_takes_over(hub):
    """The hub closes the old connection itself, so it waits no longer: 504 at once."""
    client = await callee(hub)
    call = calling(hub, "press", "reboot")
    await called(client)
    await hub.join()
    assert (await result_of(call)).http_status == 504


async def test_kept_subscription_takes_calls_after_a_reconnect(hub):
    """Without a new SUBSCRIBE, as both device SDKs reconnect."""
    client = await callee(hub, clean=False)
    client.abort()
    await hub.event(ClientDisconnected)
    again = await hub.join(clean=False, present=True)
    call = calling(hub, "press", "reboot")
    _, request_id, _, _ = await called(again)
    again.send(answer(request_id))
    assert (await result_of(call)).status == 200


async def test_cancelled_call_leaves_nothing_behind(hub):
    """Its answer is acknowledged and goes nowhere."""
    client = await callee(hub)
    call = calling(hub, "press", "reboot")
    _, request_id, _, _ = await called(client)
    call.cancel()
    client.send(answer(request_id))
    assert await client.packet() == p.puback()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert hub.gateway._process.edge._methods._called == {}


async def test_method_while_the_cloud_is_away_is_404(hub):
    """The link is cut: the cloud does not find the device."""
    await callee(hub)
    hub.gateway.upstream.online = False
    assert (await result_of(calling(hub, "press", "reboot"))).http_status == 404


@pytest.mark.parametrize(
    ("name", "payload", "timeouts", "what"),
    [
        ("", None, {}, "a method's name"),
        ("x" * 101, None, {}, "a method's name"),
        ("a/b", None, {}, "a method's name"),
        ("ok", float("nan"), {}, "is no JSON"),
        ("ok", object(), {}, "is no JSON"),
        ("ok", "x" * 131_072, {}, "131072 is the most"),
        ("ok", None, {"response_timeout": 4}, "response timeout"),
        ("ok", None, {"response_timeout": 301}, "response timeout"),
        ("ok", None, {"connect_timeout": -1}, "connect timeout"),
        ("ok", None, {"connect_timeout": 301}, "connect timeout"),
    ],
)
async def test_method_that_iot_hub_would_not_send(hub, name, payload, timeouts, what):
    """Names, payloads and timeouts beyond IoT Hub's limits are an error of the caller."""
    with pytest.raises(GatewayError, match=what):
        await hub.gateway.invoke_method("press", name, payload, **timeouts)
