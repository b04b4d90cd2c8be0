"""The real SDKs below a gateway that is below another one: what they do arrives at the top."""

import asyncio

from certs import Authority
from gateway import Settings
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import PATIENCE, SdkClient
from tests.interop.sdk.test_commands import PROPERTIES
from tests.interop.sdk.test_commands import SYSTEM as C2D_SYSTEM
from tests.interop.sdk.test_telemetry import AWKWARD, SYSTEM

pytestmark = MARKS


async def until(true):
    """Let the loop turn until something is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if true():
                return
            await asyncio.sleep(0)


async def test_device_works_below_two_gateways(start, sdk, transport):
    """Telemetry, twin, methods and cloud-to-device messages, with everything that belongs to them."""
    soon = Settings(reported_sync_period=0)
    top = await start(chain=Authority(hostname="localhost", seed=7).chain(), settings=soon)
    top.gateway.add_device("edge2", edge=True)
    top.gateway.add_device("dev1", parent="edge2")
    top.gateway.refresh_scope()
    child = await start(
        chain=Authority(hostname="localhost", seed=7).chain(),
        settings=soon,
        parent_hostname="localhost",
        parent_connection=top.gateway.connection_string("edge2"),
        parent_address=("127.0.0.1", top.gateway.mqtt_port, top.gateway.https_port),
    )
    await until(lambda: child.gateway.parent.reachable)
    await child.route(sdk)
    text = top.gateway.connection_string("dev1")
    device = await SdkClient(
        sdk, "dev1", {"connection_string": text, "ca": top.root, "module": False, "transport": transport}
    ).open()

    await device.send(body='{"temperature": 21}', properties=AWKWARD, **SYSTEM)
    message = await top.message()
    assert (message.device_id, message.json(), message.properties) == ("dev1", {"temperature": 21}, AWKWARD)
    assert message.system_properties == {name.replace("_", "-"): value for name, value in SYSTEM.items()}

    upstream = top.gateway.upstream
    upstream.twins.update_desired("dev1", {"fan": {"speed": 1}})
    assert (await device.twin())["twin"]["desired"] == {"fan": {"speed": 1}, "$version": 2}
    await device.report(patch={"fan": {"speed": 3}})
    await until(lambda: upstream.twins.get("dev1").reported == {"fan": {"speed": 3}})

    await device.serve(methods={"reboot": [207, {"in": "a minute"}]})
    await device.listen()
    clients = top.gateway._process.edge.clients
    await until(lambda: len(clients.get("dev1").filters) >= 2)
    result = await top.gateway.invoke_method("dev1", "reboot", {"delay": 5})
    assert (result.http_status, result.status, result.json()) == (200, 207, {"in": "a minute"})

    upstream.commands.send("dev1", b'{"hello": "device"}', PROPERTIES, C2D_SYSTEM, ack="full")
    message = await device.event("message")
    assert message["body"] == '{"hello": "device"}'
    assert {name: message["properties"][name] for name in PROPERTIES} == PROPERTIES
    assert {name: message.get(name.replace("-", "_")) for name in C2D_SYSTEM} == C2D_SYSTEM
    await until(lambda: upstream.commands.depth("dev1") == 0)
