"""What Edge Hubs below ask about their scope over HTTPS: answers, pages, and every way to be refused."""

import base64
import json

import pytest

from gateway.upstream import Device
from tests.gateway import packets as p
from tests.gateway import webclient as w

HUB = "hub.leafgate.test"
TARGET, ONE = "devicesAndModulesInTargetDeviceScope", "getDeviceAndModuleOnBehalfOf"
PAGED, OLD_ONE = "devicesAndModulesInDeviceScope", "deviceAndModuleInDeviceScope"


@pytest.fixture
async def nested(hub):
    """A parent: edge2 with leaf press (module filter) and edge3 below it, oven below that; fan below edge4."""
    gateway = hub.gateway
    for edge, parent in (("edge2", ""), ("edge3", "edge2"), ("edge4", "")):
        gateway.add_device(edge, edge=True, parent=parent)
    for leaf, parent in (("press", "edge2"), ("oven", "edge3"), ("fan", "edge4")):
        gateway.add_device(leaf, parent=parent)
    gateway.registry.add(Device("press", "filter"))
    gateway.registry.add(Device("edge2", "brain"))
    gateway.refresh_scope()
    return hub


def token(hub, device="edge2", module="$edgeHub", *, key=None, ttl=3_600):
    """A token of a module of an edge device."""
    key = key or hub.gateway.registry.get(device, module).primary_key
    return p.sas(f"{HUB}/devices/{device}/modules/{module}", key, int(hub.clock.now()) + ttl)


async def ask(hub, call, body=None, *, device="edge2", module="$edgeHub", method="POST", query="", proof=None):
    """Send a scope call; the answer is its status and JSON."""
    web = await hub.web()
    headers = [("Content-Type", "application/json")]
    if proof != "":
        headers.append(("Authorization", proof or token(hub, device)))
    path = f"/devices/{device}/modules/{module}/{call}?api-version=2020-06-30-preview{query}"
    web.send(w.request(method, path, b"" if body is None else json.dumps(body).encode(), headers=headers))
    status, _, answer = await web.response()
    return status, json.loads(answer) if answer else None


def ids(answer):
    """Devices and modules of an answer, sorted."""
    devices = sorted(each["deviceId"] for each in answer["devices"])
    return devices, sorted(f"{each['deviceId']}/{each['moduleId']}" for each in answer["modules"])


async def test_scope_of_the_child_is_what_is_directly_below_it(nested):
    """Its own device and modules, its leaves with theirs, and the edge device below it without what is its."""
    status, answer = await ask(nested, TARGET, {"pageSize": 10, "authChain": "edge2"})
    assert (status, answer["continuationLink"]) == (200, None)
    assert ids(answer) == (["edge2", "edge3", "press"], ["edge2/$edgeHub", "edge2/brain", "press/filter"])
    press = next(each for each in answer["devices"] if each["deviceId"] == "press")
    assert press["authentication"]["symmetricKey"]["primaryKey"] == nested.gateway.registry.get("press").primary_key
    edge = next(each for each in answer["devices"] if each["deviceId"] == "edge2")
    assert press["parentScopes"] == [edge["deviceScope"]]
    assert set(answer["modules"][0]) == {"moduleId", "deviceId", "generationId", "authentication"}


async def test_scope_of_a_gateway_below_the_child_is_told_to_the_child(nested):
    """With the chain that leads there."""
    status, answer = await ask(nested, TARGET, {"pageSize": 10, "authChain": "edge3;edge2"})
    assert status == 200
    assert ids(answer) == (["edge3", "oven"], ["edge3/$edgeHub"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"targetDeviceId": "press"}, (["press"], [])),
        ({"targetDeviceId": "press", "targetModuleId": "filter"}, (["press"], ["press/filter"])),
        ({"targetDeviceId": "edge3", "targetModuleId": "$edgeHub"}, (["edge3"], ["edge3/$edgeHub"])),
        ({"targetDeviceId": "oven"}, (["oven"], [])),
    ],
)
async def test_one_identity_is_told_with_its_device(nested, target, expected):
    """Whatever is below the child, however deep; of a module its device too."""
    status, answer = await ask(nested, ONE, {**target, "authChain": "edge2"})
    assert (status, ids(answer)) == (200, expected)


async def test_identity_that_is_new_is_asked_for_upstream(nested):
    """The parent's own cache does not know it yet."""
    nested.gateway.add_device("later", parent="edge2")
    status, answer = await ask(nested, ONE, {"targetDeviceId": "later", "authChain": "edge2"})
    assert (status, ids(answer)) == (200, (["later"], []))


@pytest.mark.parametrize(
    ("call", "body", "message"),
    [
        (ONE, {"targetDeviceId": "fan"}, "edge2/$edgeHub not authorized to get information for fan"),
        (ONE, {"targetDeviceId": "ghost"}, "edge2/$edgeHub not authorized to get information for ghost"),
        (TARGET, {"authChain": "edge4;edge2"}, "Unable to authenticate device with Id edge2/$edgeHub"),
        (TARGET, {"authChain": "edge3;edge4"}, "Unable to authenticate device with Id edge2/$edgeHub"),
        (TARGET, {"authChain": "edge4"}, "Invalid request as auth chain (edge4;leafgate-edge) to edge4 does not"),
        (TARGET, {"authChain": "ghost"}, "Auth chain to target device ghost not found"),
    ],
)
async def test_what_is_not_below_the_child_is_401(nested, call, body, message):
    """In the words of the product, and without any identity."""
    status, answer = await ask(nested, call, {"authChain": "edge2", **body})
    assert (status, list(answer)) == (401, ["ErrorMessage"])
    assert answer["ErrorMessage"].startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": "brain"}, "edge2/brain not authorized to perform on-behalf-of operations"),
        ({"proof": ""}, "Authorization header missing"),
        ({"proof": "SharedAccessSignature nonsense"}, "Cannot parse SharedAccessSignature"),
    ],
)
async def test_who_is_no_edge_hub_is_401(nested, options, message):
    """Only an $edgeHub with its token may ask."""
    status, answer = await ask(nested, TARGET, {"authChain": "edge2"}, **options)
    assert status == 401
    assert answer["ErrorMessage"].startswith(message)


@pytest.mark.parametrize("signer", [("edge4", "$edgeHub"), ("edge2", "brain")])
async def test_token_of_somebody_else_is_401(nested, signer):
    """The path's device has to be the one that signs."""
    status, _ = await ask(nested, TARGET, {"authChain": "edge2"}, proof=token(nested, *signer))
    assert status == 401


async def test_token_with_a_wrong_key_is_401(nested):
    """The same token, signed otherwise."""
    proof = token(nested, key=base64.b64encode(b"other").decode())
    assert (await ask(nested, TARGET, {"authChain": "edge2"}, proof=proof))[0] == 401


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (TARGET, None),
        (TARGET, []),
        (TARGET, {"authChain": " "}),
        (TARGET, {"authChain": 5}),
        (TARGET, {"authChain": "edge2/$edgeHub;edge2"}),
        (ONE, {"authChain": "edge2"}),
        (ONE, {"authChain": "edge2", "targetDeviceId": "press", "targetModuleId": 5}),
    ],
)
async def test_request_that_cannot_be_read_is_400(nested, call, body):
    """Without a chain, with a chain whose target is no device, or without a target."""
    assert (await ask(nested, call, body))[0] == 400


async def test_other_method_is_405(nested):
    """The new calls are POST, the old ones GET."""
    assert (await ask(nested, TARGET, method="GET"))[0] == 405
    assert (await ask(nested, PAGED, {}, method="POST"))[0] == 405


async def test_older_call_comes_in_pages_of_ten(nested):
    """Ten devices with their modules, then a link with the number to go on from."""
    for number in range(14):
        nested.gateway.add_device(f"leaf-{number:02}", parent="edge2")
    nested.gateway.refresh_scope()
    found, start, pages = [], "", 0
    while start is not None:
        query = f"&deviceCount=100&continuationToken={start}"
        status, answer = await ask(nested, PAGED, method="GET", query=query)
        assert (status, len(answer["devices"]) <= 10) == (200, True)
        found += [each["deviceId"] for each in answer["devices"]]
        link = answer["continuationLink"]
        start = None if link is None else link.partition("continuationToken=")[2].partition("&")[0]
        pages += 1
    assert pages == 2
    assert sorted(found) == sorted(["edge2", "edge3", "press", *(f"leaf-{number:02}" for number in range(14))])


async def test_older_call_for_one_identity(nested):
    """By query; what is not below the child is 401, no target 400, no number 400."""
    status, answer = await ask(nested, OLD_ONE, method="GET", query="&targetDeviceId=press&targetModuleId=filter")
    assert (status, ids(answer)) == (200, (["press"], ["press/filter"]))
    assert (await ask(nested, OLD_ONE, method="GET", query="&targetDeviceId=fan"))[0] == 401
    assert (await ask(nested, OLD_ONE, method="GET"))[0] == 400
    assert (await ask(nested, PAGED, method="GET", query="&deviceCount=x"))[0] == 400
