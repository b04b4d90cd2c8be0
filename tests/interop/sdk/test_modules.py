"""Modules with the real SDKs: inputs and outputs, twin, methods."""

import pytest

from gateway import GatewayError
from tests.interop.sdk.marks import MARKS

pytestmark = MARKS


async def test_input_message_arrives_and_is_acknowledged(room, sdk, transport):
    """The module gets it under the input's name with its properties; sending is done when it has acknowledged it."""
    module = await room.open(sdk, "dev1", "filter", transport=transport)
    await module.listen()
    properties = {"colour": "deep blue", "signs": "a=b&c/d"}
    await room.gateway.send_to_input("dev1", "filter", "in1", b'{"t": 1}', properties=properties)
    message = await module.event("message")
    assert (message["input"], message["body"]) == ("in1", '{"t": 1}')
    assert message["properties"] == properties


async def test_input_message_for_a_module_that_does_not_listen_fails(room, sdk, transport):
    """Connected, but without a subscription to inputs."""
    await room.open(sdk, "dev1", "filter", transport=transport)
    with pytest.raises(GatewayError, match="did not take the message for input in1"):
        await room.gateway.send_to_input("dev1", "filter", "in1", b"x")


async def test_module_output_names_its_output(room, sdk, transport):
    """A message on a module's output arrives under the module, with the output's name as it was given."""
    module = await room.open(sdk, "dev1", "filter", transport=transport)
    await module.send(body="1", output="out1", properties={"k": "v"})
    message = await room.message()
    assert (message.device_id, message.module_id, message.properties) == ("dev1", "filter", {"k": "v"})
    assert message.system_properties["output-name"] == "out1"


async def test_module_has_a_twin_and_methods_of_its_own(room, sdk, transport):
    """Neither is its device's."""
    upstream = room.gateway.upstream
    upstream.twins.update_desired("dev1", {"of": "the device"})
    upstream.twins.update_desired("dev1/filter", {"of": "the module"})
    module = await room.open(sdk, "dev1", "filter", transport=transport)
    assert (await module.twin())["twin"]["desired"] == {"of": "the module", "$version": 2}
    await module.report(patch={"seen": True})
    assert upstream.twins.get("dev1/filter").reported == {"seen": True}
    assert upstream.twins.get("dev1").reported == {}
    await module.serve(methods={"reset": [200, {"done": True}]})
    result = await room.gateway.invoke_method("dev1", "reset", module_id="filter")
    assert (result.status, result.json()) == (200, {"done": True})
    assert (await room.gateway.invoke_method("dev1", "reset")).http_status == 404
