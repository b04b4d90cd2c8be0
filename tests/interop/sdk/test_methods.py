"""Direct methods with the real SDKs."""

import asyncio

import pytest

from gateway import ManualClock
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError

pytestmark = MARKS

UNAUTHORIZED = "HTTP operation returned: 401 UnauthorizedError(Error: Unauthorized)"


@pytest.mark.parametrize("payload", [{"delay": 5, "why": "é"}, [1, 2], "text", 0, None], ids=str)
async def test_method_is_called_and_answered(room, sdk, transport, payload):
    """Any JSON goes down, and status and payload come back."""
    device = await room.open(sdk, transport=transport)
    await device.serve(methods={"reboot": [207, {"in": "a minute"}]})
    result = await room.gateway.invoke_method("dev1", "reboot", payload)
    assert (result.http_status, result.status, result.json()) == (200, 207, {"in": "a minute"})
    assert (await device.event("method"))["payload"] == payload


async def test_methods_are_told_apart(room, sdk, transport):
    """Calls that are under way at once get their own answers."""
    device = await room.open(sdk, transport=transport)
    await device.serve(methods={"one": [200, 1], "two": [200, 2]})
    calls = [room.gateway.invoke_method("dev1", name) for name in ("one", "two", "one")]
    assert [result.json() for result in await asyncio.gather(*calls)] == [1, 2, 1]


async def test_device_that_takes_no_methods_is_not_found(room, sdk, transport):
    """Without a subscription a call ends at once with 404."""
    await room.open(sdk, transport=transport)
    result = await room.gateway.invoke_method("dev1", "reboot")
    assert (result.http_status, result.status) == (404, None)


async def test_method_nobody_answers_times_out(start, sdk, transport):
    """A name that the program has not registered gets no answer from its SDK: 504."""
    clock = ManualClock()
    room = await start(clock=clock)
    device = await room.open(sdk, transport=transport)
    await device.serve(methods={"reboot": [200, None]})
    calling = asyncio.ensure_future(room.gateway.invoke_method("dev1", "unheard", response_timeout=5))
    assert (await room.gateway.invoke_method("dev1", "reboot")).status == 200  # the first has been read by then
    clock.elapse(5)
    result = await calling
    assert (result.http_status, result.status) == (504, None)


async def test_method_reaches_a_device_that_came_back(room, sdk, transport):
    """After a reconnect the SDK does not subscribe again; the session remembers."""
    device = await room.open(sdk, transport=transport)
    await device.serve(methods={"reboot": [200, "again"]})
    await device.disconnect()
    await device.reconnect()
    result = await room.gateway.invoke_method("dev1", "reboot")
    assert (result.status, result.json()) == (200, "again")


async def test_module_calls_a_leaf(room, sdk, transport):
    """A module of the edge device calls a method of a leaf through the gateway, over HTTPS."""
    leaf = await room.open(sdk, "dev1", transport=transport)
    await leaf.serve(methods={"reboot": [207, {"in": "a minute"}]})
    module = await room.open_edge_module(sdk, room.gateway.edge_device_id, "caller", transport=transport)
    answer = await module.invoke(device_id="dev1", method="reboot", payload={"delay": 5})
    assert answer["result"] == {"status": 207, "payload": {"in": "a minute"}}
    assert (await leaf.event("method"))["payload"] == {"delay": 5}


async def test_module_calls_a_module(room, sdk, transport):
    """The same for a module of another device."""
    other = await room.open(sdk, "dev1", "filter", transport=transport)
    await other.serve(methods={"reset": [200, None]})
    module = await room.open_edge_module(sdk, room.gateway.edge_device_id, "caller", transport=transport)
    answer = await module.invoke(device_id="dev1", module_id="filter", method="reset", payload=None)
    assert answer["result"] == {"status": 200, "payload": None}


async def test_module_of_another_device_may_not_call(room, sdk, transport):
    """Only modules of the edge device itself."""
    leaf = await room.open(sdk, "dev1", transport=transport)
    await leaf.serve(methods={"reboot": [200, None]})
    module = await room.open_edge_module(sdk, "dev2", "caller", transport=transport)
    with pytest.raises(SdkError) as refused:
        await module.invoke(device_id="dev1", method="reboot", payload={})
    said = 'Error: {"message":"Only modules on the same device can invoke DirectMethods"}'
    expected = {
        "python": (("ClientError", "Unexpected failure"), ("ServiceError", UNAUTHORIZED)),
        "node": (("UnauthorizedError", said),),
    }
    assert refused.value.chain == expected[sdk.name]
    assert leaf.process.of("method") == []
