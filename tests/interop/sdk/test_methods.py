"""Direct methods with the real SDKs."""

import asyncio

import pytest

from gateway import ManualClock
from tests.interop.sdk.marks import MARKS

pytestmark = MARKS


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
