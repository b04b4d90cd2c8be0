"""Devices and modules by the service SDKs."""

import base64

import pytest

from tests.interop.sdk.marks import MARKS
from tests.interop.service_sdk.conftest import BackEnd, RefusedError

pytestmark = MARKS

KEY = base64.b64encode(b"k" * 32).decode()
PRINT = "A1" * 20
MADE = {"keys": ["", ""]}
PROOFS = {
    "sas": {"keys": [KEY, KEY]},
    "selfSigned": {"thumbprints": [PRINT, PRINT]},
    "certificateAuthority": {},
}


async def refused(call):
    """The refusal that a call ends with."""
    with pytest.raises(RefusedError) as refusal:
        await call
    return refusal.value


@pytest.mark.parametrize("kind", PROOFS)
async def test_device_of_each_kind_lives(back, kind):
    """Created, read, updated, listed and deleted, with keys, thumbprints or an authority."""
    device = await back.create_device(device="d1", proof=PROOFS[kind], reason="new")
    assert (device["deviceId"], device["status"], device["statusReason"]) == ("d1", "enabled", "new")
    assert device["authentication"]["type"] == kind
    if kind == "sas":
        assert device["authentication"]["symmetricKey"] == {"primaryKey": KEY, "secondaryKey": KEY}
    assert (await back.get_device(device="d1"))["etag"] == device["etag"]
    updated = await back.update_device(device="d1", proof=PROOFS[kind], status="disabled")
    assert (updated["status"], updated["authentication"]["type"]) == ("disabled", kind)
    assert [one["deviceId"] for one in await back.list_devices()] == ["leafgate-edge", "d1"]
    await back.delete_device(device="d1")
    gone = await refused(back.get_device(device="d1"))
    assert (gone.status, gone.code) == (404, "DeviceNotFound")
    assert gone.kind == {"python": "HttpOperationError", "node": "DeviceNotFoundError"}[back.name]


async def test_hub_makes_keys(back):
    """An empty symmetric key: the hub makes two."""
    keys = (await back.create_device(device="d1", proof=MADE))["authentication"]["symmetricKey"]
    assert {len(base64.b64decode(key)) for key in keys.values()} == {32}


async def test_taken_id_is_a_conflict(back):
    """409, and each SDK's own error."""
    await back.create_device(device="d1", proof=MADE)
    wrong = await refused(back.create_device(device="d1", proof=MADE))
    assert (wrong.status, wrong.code) == (409, "DeviceAlreadyExists")
    assert wrong.kind == {"python": "HttpOperationError", "node": "DeviceAlreadyExistsError"}[back.name]


@pytest.mark.parametrize("name", ["a b", "über", "a/b", "x" * 129])
async def test_invalid_name_is_refused(back, name):
    """400."""
    wrong = await refused(back.create_device(device=name, proof=MADE))
    assert (wrong.status, wrong.code) == (400, "ArgumentInvalid")


async def test_odd_name_is_accepted(back):
    """Everything that IoT Hub allows comes through both SDKs' escaping."""
    name = "a-:.+%_#*?!(),=@$'b"
    await back.create_device(device=name, proof=MADE)
    assert (await back.get_device(device=name))["deviceId"] == name
    assert (await back.get_twin(device=name))["deviceId"] == name
    await back.delete_device(device=name)


async def test_edge_device_and_its_children(back, room):
    """A leaf below an edge device has its scope; a scope of nobody is refused on update; the gateway sees its own."""
    own = await back.get_device(device="leafgate-edge")
    edge = await back.create_device(device="e1", proof=MADE, edge=True, parents=[own["deviceScope"]])
    assert edge["capabilities"] == {"iotEdge": True}
    assert edge["deviceScope"] == f"ms-azure-iot-edge://e1-{edge['generationId']}"
    assert edge["parentScopes"] == [own["deviceScope"]]
    leaf = await back.create_device(device="d1", proof=MADE, scope=edge["deviceScope"])
    assert (leaf["deviceScope"], leaf["parentScopes"]) == (edge["deviceScope"], [edge["deviceScope"]])
    assert room.gateway.registry.in_scope("d1") is not None
    scope = "c36ae4bb-0b0e-4be0-9ebd-c3f8e3a25b6b"
    wrong = await refused(back.update_device(device="d1", proof=MADE, scope=scope))
    assert (wrong.status, wrong.code) == (400, "ArgumentInvalid")
    modules = await back.list_modules(device="e1")
    assert [one["moduleId"] for one in modules] == ["$edgeAgent", "$edgeHub"]


async def test_many_devices_at_once(back):
    """Created, updated, deleted; with an ETag that is old or an id that is not there, the error names the device."""
    names = [{"deviceId": f"d{number}"} for number in range(3)]
    assert (await back.bulk(mode="create", devices=names))["isSuccessful"] is True
    stale = [{**one, "etag": (await back.get_device(device=one["deviceId"]))["etag"]} for one in names]
    disabled = [{**one, "status": "disabled"} for one in names]
    assert (await back.bulk(mode="update", devices=disabled))["isSuccessful"] is True
    assert (await back.get_device(device="d1"))["status"] == "disabled"
    for mode in ("updateIfMatchETag", "deleteIfMatchETag"):
        found = await bulk_errors(back, mode, stale[:1])
        assert found == [("d0", "PreconditionFailed")]
    assert await bulk_errors(back, "create", names[:1]) == [("d0", "DeviceAlreadyExists")]
    assert await bulk_errors(back, "delete", [{"deviceId": "d9"}]) == [("d9", "DeviceNotFound")]
    assert (await back.bulk(mode="delete", devices=names))["isSuccessful"] is True
    assert [one["deviceId"] for one in await back.list_devices()] == ["leafgate-edge"]


async def bulk_errors(back, mode, devices):
    """Whom errors name and why: the Python SDK returns a result with errors, the Node.js SDK throws one."""
    if back.name == "python":
        result = await back.bulk(mode=mode, devices=devices)
        assert result["isSuccessful"] is False
        return [(error["deviceId"], error["errorCode"]) for error in result["errors"]]
    import json

    wrong = await refused(back.bulk(mode=mode, devices=devices))
    assert (wrong.kind, wrong.status) == ("ArgumentError", 400)
    return [(error["deviceId"], error["errorCode"]) for error in json.loads(wrong.body)["errors"]]


@pytest.mark.parametrize("kind", PROOFS)
async def test_module_of_each_kind_lives(back, kind):
    """Created, read, listed, updated with its ETag, refused with an old one, deleted."""
    await back.create_device(device="d1", proof=MADE)
    await back.create_module(device="d1", module="m", proof=PROOFS[kind], managed_by="us")
    module = await back.get_module(device="d1", module="m")
    assert (module["moduleId"], module["managedBy"], module["authentication"]["type"]) == ("m", "us", kind)
    assert [one["moduleId"] for one in await back.list_modules(device="d1")] == ["m"]
    change = {"device": "d1", "module": "m", "proof": PROOFS[kind], "managed_by": "you"}
    await back.update_module(**change, etag=module["etag"])
    assert (await back.get_module(device="d1", module="m"))["managedBy"] == "you"
    stale = await refused(back.update_module(**change, etag=module["etag"]))
    assert (stale.status, stale.code) == (412, "PreconditionFailed")
    await back.delete_module(device="d1", module="m")
    gone = await refused(back.get_module(device="d1", module="m"))
    assert (gone.status, gone.code) == (404, "ModuleNotFound")


async def test_old_etag_refuses_a_device_too(python_back):
    """412 on update and delete; the Node.js SDK sends the wildcard alone."""
    old = await python_back.create_device(device="d1", proof=MADE)
    new = await python_back.update_device(device="d1", etag=old["etag"], proof=MADE)
    for call in (
        python_back.update_device(device="d1", etag=old["etag"], proof=MADE),
        python_back.delete_device(device="d1", etag=old["etag"]),
    ):
        wrong = await refused(call)
        assert (wrong.status, wrong.code) == (412, "PreconditionFailed")
    await python_back.delete_device(device="d1", etag=new["etag"])


async def test_list_is_cut(python_back):
    """As many devices as asked for."""
    await python_back.create_device(device="d1", proof=MADE)
    assert len(await python_back.list_devices(top=1)) == 1


async def test_statistics(back):
    """Devices by state."""
    await back.create_device(device="d1", proof=MADE, status="disabled")
    assert await back.statistics() == {"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1}


async def test_policies_open_their_own_calls(back, services, room):
    """registryRead reads and does not write, service has no business with the registry; both SDKs say 401."""
    reader = room.gateway.service_connection_string("registryRead", named=back.name == "node")
    await back.connect(reader)
    assert [one["deviceId"] for one in await back.list_devices()] == ["leafgate-edge"]
    for policy, call in (("registryRead", "create_device"), ("service", "get_device")):
        await back.connect(room.gateway.service_connection_string(policy, named=back.name == "node"))
        facts = {"device": "leafgate-edge", **({"proof": MADE} if call == "create_device" else {})}
        wrong = await refused(getattr(back, call)(**facts))
        assert (wrong.status, wrong.code) == (401, "IotHubUnauthorizedAccess")
        assert wrong.kind == {"python": "HttpOperationError", "node": "UnauthorizedError"}[back.name]


async def test_wrong_key_is_unauthorized(back, room):
    """A connection string of another gateway, say."""
    good = room.gateway.service_connection_string(named=back.name == "node")
    await back.connect(good.rpartition("SharedAccessKey=")[0] + f"SharedAccessKey={KEY}")
    assert (await refused(back.list_devices())).status == 401


async def test_python_takes_a_port_in_the_host_name_and_node_does_not(services, room):
    """HostName=localhost:PORT is the whole way for the Python SDK; the Node.js SDK asks the resolver for that name."""
    text = room.gateway.service_connection_string()
    python = await BackEnd(await services("python"), room.gateway).connect(text)
    assert len(await python.list_devices()) == 1
    node = await BackEnd(await services("node"), room.gateway).connect(text)
    wrong = await refused(node.list_devices())
    assert f"getaddrinfo ENOTFOUND localhost:{room.gateway.hub_port}" in wrong.body


async def test_unknown_root_is_refused_by_the_sdk(services, start):
    """A gateway whose root the SDK does not trust is not spoken to."""
    from certs import Authority

    other = await start(chain=Authority(hostname="localhost").chain())
    for name, words in (("python", "CERTIFICATE_VERIFY_FAILED"), ("node", "unable to verify the first certificate")):
        stranger = await BackEnd(await services(name), other.gateway).connect()
        assert words in (await refused(stranger.list_devices())).body
