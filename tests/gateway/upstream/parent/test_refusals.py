"""What keeps a child from its parent, and from speaking for leaves; each time with the exact reason on both sides."""

import base64

import pytest

from gateway import Gateway, GatewayError
from gateway.events import ConnectionRefused, HandshakeFailed
from gateway.upstream import Device
from tests.gateway import packets as p
from tests.gateway.upstream.parent.conftest import chain_of, telemetry
from tests.gateway.upstream.parent.test_nested import connected

WRONG_KEY = base64.b64encode(b"another key").decode()
HUB = "hub.leafgate.test"


async def on_behalf(hub, client_id, chain, *, actor="edge2", signer="edge2/$edgeHub", key=None):
    """CONNECT of `client_id` with a chain and a token of `signer`; the answer is the CONNACK code."""
    device, _, module = signer.partition("/")
    key = key or hub.gateway.registry.get(device, module or None).primary_key
    resource = f"{HUB}/devices/{actor}/modules/$edgeHub"
    token = p.sas(resource, key, int(hub.clock.now()) + 3_600)
    escaped = chain.replace("/", "%2F").replace(";", "%3B").replace("$", "%24")
    client = await hub.dial(server_name=hub.gateway.hostname)
    name = f"{HUB}/{client_id}/?api-version=2021-04-12&auth-chain={escaped}"
    client.send(p.connect(client_id, name, token))
    return (await client.packet())[3]


@pytest.fixture
async def top(plant):
    """A parent with edge2 (leaf press), edge3 below it (leaf oven) and edge4 beside it (leaf fan)."""
    hub = await plant.start()
    plant.register("edge2")
    plant.register("edge3", "edge2")
    plant.register("edge4")
    for leaf, edge in (("press", "edge2"), ("oven", "edge3"), ("fan", "edge4")):
        plant.leaf(leaf, edge)
    hub.gateway.refresh_scope()
    return hub


# -- the parent's judgement -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_id", "chain"),
    [
        ("press", "press;edge2"),
        ("oven", "oven;edge3;edge2"),
        ("edge2/$edgeHub", "edge2/$edgeHub;edge2"),
        ("edge3/$edgeHub", "edge3/$edgeHub;edge3;edge2"),
        ("edge3", "edge3;edge2"),
    ],
)
async def test_edge_hub_may_speak_for_whatever_is_below_it(top, client_id, chain):
    """With the key of its own $edgeHub: for itself, leaves, edge devices below, and leaves of those."""
    assert await on_behalf(top, client_id, chain) == 0


@pytest.mark.parametrize(
    ("client_id", "chain", "reason"),
    [
        (
            "fan",
            "fan;edge2",
            "edge2 is not authorized to act OnBehalfOf fan, auth-chain: fan;edge4;leafgate-edge",
        ),
        ("press", "press;nobody", "nobody is not authorized to act OnBehalfOf press, auth-chain: press;edge2;"),
        ("ghost", "ghost;edge2", "ghost is not in the scope of this gateway, or a gateway above it is disabled"),
        ("press", "oven;edge3;edge2", "the auth-chain 'oven;edge3;edge2' is not for 'press'"),
    ],
)
async def test_edge_hub_may_speak_for_nobody_else(top, client_id, chain, reason):
    """Code 5, and the reason names who is not below whom."""
    assert await on_behalf(top, client_id, chain) == 5
    refused = await top.event(ConnectionRefused, code=5)
    assert refused.reason.startswith(reason)


async def test_actor_with_a_wrong_key_is_refused(top):
    """The way is right, the signature is not."""
    assert await on_behalf(top, "press", "press;edge2", key=WRONG_KEY) == 5
    refused = await top.event(ConnectionRefused, code=5)
    assert refused.reason == "the signature matches neither the primary nor the secondary key"


async def test_key_of_the_edge_device_is_not_that_of_its_hub(top):
    """Who speaks for others signs with the module's key; the device's own is good for itself alone."""
    assert await on_behalf(top, "press", "press;edge2", signer="edge2") == 5
    refused = await top.event(ConnectionRefused, code=5)
    assert refused.reason == "the signature matches neither the primary nor the secondary key"


async def test_token_of_another_actor_is_refused(top):
    """The audience has to name the actor of the chain."""
    assert await on_behalf(top, "oven", "oven;edge3;edge2", actor="edge3") == 5
    refused = await top.event(ConnectionRefused, code=5)
    assert refused.reason == "the audience does not name this device or module"


async def test_nobody_speaks_over_a_disabled_gateway(top):
    """Of a disabled edge device no chain leads up any more, neither for itself nor for leaves."""
    registry = top.gateway.registry
    edge = registry.get("edge3")
    registry.update(Device("edge3", primary_key=edge.primary_key, edge=True, parent="edge2", enabled=False))
    top.gateway.refresh_scope()
    assert await on_behalf(top, "oven", "oven;edge3;edge2") == 5
    assert await on_behalf(top, "press", "press;edge2") == 0


# -- the child's side -------------------------------------------------------------------------------------------------


async def test_child_with_a_wrong_key_stays_offline(plant):
    """It says that the parent refuses it; the parent says why."""
    top = await plant.start()
    plant.register("edge2")
    connection = f"HostName={HUB};DeviceId=edge2;ModuleId=$edgeHub;SharedAccessKey={WRONG_KEY}"
    child = await plant.below("edge2", connection=connection, online=False)
    refused = await top.event(ConnectionRefused, code=5)
    assert refused.reason == "the signature matches neither the primary nor the secondary key"
    await plant.until(lambda: "CONNECT was refused: Not authorized" in child.log.getvalue())
    assert not child.gateway.parent.reachable
    assert WRONG_KEY not in child.log.getvalue()


async def test_child_that_does_not_trust_its_parent_stays_offline(plant):
    """A parent of another root: the child says what OpenSSL says, and the parent gets its alert."""
    top = await plant.start()
    plant.register("edge2")
    module = top.gateway.connection_string("edge2", "$edgeHub")
    child = await plant.below("edge2", connection=module, seed=8, online=False)
    await plant.until(
        lambda: "its certificate is refused: self-signed certificate in certificate chain" in child.log.getvalue()
    )
    failed = await top.event(HandshakeFailed, alert="unknown_ca")
    assert failed.sent_by == "client"
    assert not child.gateway.parent.reachable


async def test_child_with_its_parents_root_trusts_it(plant, tmp_path):
    """The twin of the one before: `parent_trust` names the parent's root, the child's own is another."""
    top = await plant.start()
    connection = plant.register("edge2")
    root = tmp_path / "root.pem"
    root.write_bytes(top.gateway.root_ca.read_bytes())
    child = await plant.below("edge2", connection=connection, seed=8, parent_trust=root)
    assert child.gateway.parent.reachable
    root.unlink()  # it was read once: a parent's folder may be gone when the parent is back
    child.gateway.parent._own.break_off("a test")
    child.clock.advance(2)
    await plant.until(lambda: child.gateway.parent.reachable)


async def test_child_refuses_a_parent_of_another_name(plant):
    """The name in the parent's certificate has to be `parent_hostname`."""
    top = await plant.start()
    plant.register("edge2")
    chain = chain_of("edge2.factory.test")
    gateway = Gateway(
        chain=chain,
        clock=plant.clock,
        parent_hostname="other.factory.test",
        parent_connection=top.gateway.connection_string("edge2", "$edgeHub"),
        parent_address=("127.0.0.1", top.gateway.mqtt_port, top.gateway.https_port),
    )
    lines = []
    gateway.log.addFilter(lambda record: lines.append(record.getMessage()) or True)
    async with gateway:
        await plant.until(lambda: any("not valid for 'other.factory.test'" in line for line in lines))
        await top.event(HandshakeFailed, alert="bad_certificate", sent_by="client")
        assert not gateway.parent.reachable


async def test_child_that_is_disabled_at_the_hub_is_dropped_and_stays_out(plant):
    """At the next judgement the parent ends its connections and takes no new ones; its leaves go on at the child."""
    top = await plant.start()
    child = await plant.below("edge2")
    plant.leaf("press", "edge2")
    leaf = await child.join()
    await plant.until(lambda: "press" in connected(top))
    registry = top.gateway.registry
    edge = registry.get("edge2")
    registry.update(Device("edge2", primary_key=edge.primary_key, edge=True, enabled=False))
    top.gateway.refresh_scope()
    child.clock.advance(301)
    await plant.until(lambda: not child.gateway.parent.reachable and connected(top) == set())
    child.clock.advance(61)
    refused = await top.event(ConnectionRefused, code=5)
    assert "a gateway above it is disabled" in refused.reason
    leaf.send(telemetry("press", b"kept"))
    assert await leaf.packet() == p.puback()
    assert len(top.gateway.upstream.inbox) == 0


async def test_leaf_of_another_gateway_is_refused_by_the_child(plant):
    """What the parent does not tell the child about does not get in there either."""
    await plant.start()
    child = await plant.below("edge2")
    plant.register("edge4")
    plant.leaf("fan", "edge4")
    client = await child.dial(server_name=child.gateway.hostname)
    client.send(child.hello("fan"))
    assert await client.packet() == b"\x20\x02\0\x05"
    refused = await child.event(ConnectionRefused, code=5)
    assert refused.reason == "fan is not in the scope of this gateway"


# -- what a user can get wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ("DeviceId=edge2;SharedAccessKey=AAAA", "the connection string for the parent has no HostName"),
        ("HostName=h;DeviceId=edge2", "the connection string for the parent has no SharedAccessKey"),
        ("HostName=h;DeviceId=edge2;SharedAccessKey=secret!", "the key in the connection string for the parent is not"),
        (
            "HostName=h;DeviceId=e;ModuleId=m;SharedAccessKey=AAAA",
            "the connection string for the parent is of a module",
        ),
        ("secret", "the connection string for the parent cannot be read"),
    ],
)
def test_connection_string_that_is_none_is_refused_without_its_values(connection, message):
    """At once, with what is wrong; the text itself is not repeated."""
    with pytest.raises(GatewayError) as caught:
        Gateway(chain=chain_of("edge2.factory.test"), parent_hostname="top", parent_connection=connection)
    assert caught.value.message.startswith(message)
    assert "secret" not in caught.value.message


def test_parent_needs_name_and_connection(tmp_path):
    """One without the other is an error, and so is a file that has no certificates."""
    with pytest.raises(GatewayError, match="needs parent_connection too"):
        Gateway(chain=chain_of("edge2.factory.test"), parent_hostname="top")
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(GatewayError, match="no certificate in it can be read"):
        Gateway(
            chain=chain_of("edge2.factory.test"),
            parent_hostname="top",
            parent_connection="HostName=h;DeviceId=e;SharedAccessKey=AAAA",
            parent_trust=tmp_path / "no.pem",
        )


async def test_nothing_is_registered_below_another_gateway(plant):
    """The child has no registry of its own, and says where there is one."""
    await plant.start()
    child = await plant.below("edge2")
    with pytest.raises(GatewayError, match=r"devices are registered at the top of the hierarchy, above top\.factory"):
        child.gateway.connection_string("press")
    with pytest.raises(GatewayError, match="methods are called from the cloud at the top"):
        await child.gateway.invoke_method("press", "reboot")
