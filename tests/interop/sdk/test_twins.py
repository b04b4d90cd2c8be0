"""Device twins with the real SDKs."""

import pytest

from gateway import Settings
from gateway.events import ClientConnected
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError

pytestmark = MARKS


async def test_twin_has_what_both_sides_set(room, sdk, transport):
    """The SDK's twin has the desired properties of the cloud and the reported ones of the device, with versions."""
    room.gateway.upstream.twins.update_desired("dev1", {"fan": {"speed": 1}, "list": [1, "é"]})
    device = await room.open(sdk, transport=transport)
    await device.report(patch={"fan": {"speed": 3}})
    assert (await device.twin())["twin"] == {
        "desired": {"fan": {"speed": 1}, "list": [1, "é"], "$version": 2},
        "reported": {"fan": {"speed": 3}, "$version": 2},
    }


async def test_twin_of_a_new_device_is_empty(room, sdk, transport):
    """Nothing but two versions."""
    device = await room.open(sdk, transport=transport)
    assert (await device.twin())["twin"] == {"desired": {"$version": 1}, "reported": {"$version": 1}}


async def test_reported_properties_reach_the_cloud(start, sdk, transport):
    """A patch is merged upstream; null deletes."""
    room = await start(settings=Settings(reported_sync_period=0))
    device = await room.open(sdk, transport=transport)
    await device.report(patch={"fan": {"speed": 3, "on": True}, "old": 1})
    await device.report(patch={"fan": {"speed": 4}, "old": None})
    assert room.gateway.upstream.twins.get("dev1").reported == {"fan": {"speed": 4, "on": True}}


async def test_desired_change_reaches_the_device(room, sdk, transport):
    """Each patch comes as it was made, nulls included, with its version."""
    twins = room.gateway.upstream.twins
    twins.update_desired("dev1", {"fan": {"speed": 1}})
    device = await room.open(sdk, transport=transport)
    await device.watch()
    twins.update_desired("dev1", {"fan": {"speed": 2}, "gone": None})
    await device.event("desired", patch={"fan": {"speed": 2}, "gone": None, "$version": 3})


async def test_desired_change_while_away_is_not_lost(room, sdk, transport):
    """The Python SDK asks when it comes back; for one that does not, the next change brings what it has missed."""
    twins = room.gateway.upstream.twins
    device = await room.open(sdk, transport=transport)
    await device.watch()
    await device.disconnect()
    twins.update_desired("dev1", {"fan": 7})
    await device.reconnect()
    if sdk.name == "python":
        await device.event("desired", patch={"fan": 7, "$version": 2})
    twins.update_desired("dev1", {"more": 1})
    missed = {} if sdk.name == "python" else {"fan": 7}
    await device.event("desired", patch={**missed, "more": 1, "$version": 3})


async def test_twin_is_answered_without_another_subscription(room, sdk, transport):
    """The SDKs subscribe to answers once; after a reconnect they rely on the session."""
    device = await room.open(sdk, transport=transport)
    await device.twin()
    await device.disconnect()
    await device.reconnect()
    assert (await device.twin())["twin"]["desired"] == {"$version": 1}
    await room.event(ClientConnected, 2)


NOT_ALLOWED = [
    ({"a.b": 1}, "Property name a.b contains invalid character '.'"),
    ({"a": "x" * 5000}, "Value associated with property name a has length 5000 that exceeds maximum length of 4096"),
]
PYTHON_400 = (("ClientError", "Unexpected failure"), ("ServiceError", "twin operation returned status 400"))


@pytest.mark.parametrize(("patch", "why"), NOT_ALLOWED, ids=["name", "length"])
async def test_reported_properties_that_are_not_allowed_are_dropped(room, sdk, transport, patch, why):
    """Edge Hub answers 400 without a body: the Python SDK raises, the Node.js SDK takes it for success."""
    device = await room.open(sdk, transport=transport)
    if sdk.name == "python":
        with pytest.raises(SdkError) as refused:
            await device.report(patch=patch)
        assert refused.value.chain == PYTHON_400
    else:
        await device.report(patch=patch)
    assert room.gateway.upstream.twins.get("dev1").reported == {}


@pytest.mark.parametrize(("patch", "why"), NOT_ALLOWED, ids=["name", "length"])
async def test_strict_gateway_says_what_is_not_allowed(start, sdk, transport, patch, why):
    """IoT Hub, and so a strict gateway, sends the reason along: now the Node.js SDK raises too."""
    room = await start(settings=Settings(strict=True))
    device = await room.open(sdk, transport=transport)
    with pytest.raises(SdkError) as refused:
        await device.report(patch=patch)
    assert refused.value.chain == (PYTHON_400 if sdk.name == "python" else (("Error", why),))
    assert room.gateway.upstream.twins.get("dev1").reported == {}
