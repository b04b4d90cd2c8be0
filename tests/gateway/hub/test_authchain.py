"""Auth-chains: what they say, and where they lead in a scope."""

import pytest

from gateway.hub import authchain
from gateway.hub.authchain import Tree
from gateway.hub.service_identity import ServiceIdentity


@pytest.mark.parametrize(
    ("chain", "target", "actor"),
    [
        (None, None, None),
        ("", None, None),
        (";", None, None),
        ("edge2", "edge2", None),
        ("leaf;edge2", "leaf", "edge2"),
        ("leaf/m;leaf;edge3;edge2;", "leaf/m", "edge2"),
    ],
)
def test_chain_names_target_and_actor(chain, target, actor):
    """The first id is spoken for, the last one speaks; one alone speaks for itself."""
    assert (authchain.target(chain), authchain.actor(chain)) == (target, actor)


@pytest.mark.parametrize(
    ("actor", "target", "chain", "permitted"),
    [
        ("edge1", "leaf1", "leaf1;edge1;edgeRoot", True),
        ("edgeRoot", "leaf1", "leaf1;edge1;edgeRoot", True),
        ("edge1", "leaf1", "leaf1;edge2;edgeRoot", False),
        ("edge1", "leaf1", "leaf2;edge1;edgeRoot", False),
        ("edge1", "leaf1", ";", False),
    ],
)
def test_actor_has_to_be_on_the_way(actor, target, chain, permitted):
    """The cases of DeviceScopeControllerTest.cs (ValidateChainTest) and one more."""
    assert authchain.permits(chain, actor, target) is permitted


def device(name, parent=None, *, edge=False, enabled=True):
    """An identity; an edge device's own scope is `scope-of-NAME`."""
    above = () if parent is None else (f"scope-of-{parent}",)
    scope = f"scope-of-{name}" if edge else next(iter(above), None)
    return ServiceIdentity(name, edge=edge, enabled=enabled, scope=scope, parent_scopes=above)


def tree(*identities, owner="root"):
    """A tree of these."""
    known = {each.client_id: each for each in identities}
    grown = Tree(owner, known.get)
    for each in identities:
        grown.learn(each)
    return grown, known


def test_chain_leads_over_every_gateway():
    """From a leaf, a module of it, an edge device and a module of that, up to the owner."""
    grown, _ = tree(
        device("root", edge=True),
        device("mid", "root", edge=True),
        device("low", "mid", edge=True),
        device("leaf", "low"),
        ServiceIdentity("leaf", "m"),
        ServiceIdentity("low", "$edgeHub"),
    )
    assert grown.chain("leaf") == "leaf;low;mid;root"
    assert grown.chain("leaf/m") == "leaf/m;leaf;low;mid;root"
    assert grown.chain("low/$edgeHub") == "low/$edgeHub;low;mid;root"
    assert grown.chain("mid") == "mid;root"


def test_owner_needs_nothing_to_be_known():
    """A gateway knows its own way before it knows anything else (ServiceIdentityTree.cs)."""
    grown, _ = tree()
    assert grown.chain("root") == "root"
    assert grown.chain("root/$edgeHub") == "root/$edgeHub;root"
    assert grown.chain("leaf") is None


def test_chain_ends_where_something_is_missing_or_disabled():
    """An unknown parent, a disabled edge device on the way; a disabled leaf is judged elsewhere."""
    grown, _ = tree(
        device("root", edge=True),
        device("off", "root", edge=True, enabled=False),
        device("below-off", "off"),
        device("orphan", "nobody"),
        device("leaf", "root", enabled=False),
    )
    assert grown.chain("below-off") is None
    assert grown.chain("off") is None
    assert grown.chain("orphan") is None
    assert grown.chain("leaf") == "leaf;root"


def test_five_gateways_are_the_most():
    """A leaf below the fifth is found, the sixth gateway and what is below it is not."""
    edges = [device(f"e{n}", f"e{n - 1}" if n > 1 else None, edge=True) for n in range(1, 7)]
    grown, _ = tree(*edges, device("fifth", "e5"), device("sixth", "e6"), owner="e1")
    assert grown.chain("fifth") == "fifth;e5;e4;e3;e2;e1"
    assert grown.chain("e6") is None
    assert grown.chain("sixth") is None


def test_circle_leads_nowhere():
    """Two edge devices that are each other's parent belong to nobody."""
    grown, _ = tree(device("a", "b", edge=True), device("b", "a", edge=True), device("root", edge=True))
    assert grown.chain("a") is None


def test_forgotten_gateway_leads_nowhere():
    """What hung below it is not in the scope any more."""
    edge = device("mid", "root", edge=True)
    grown, known = tree(device("root", edge=True), edge, device("leaf", "mid"))
    del known["mid"]
    grown.forget(edge)
    assert grown.chain("leaf") is None
