"""What the registry tells the Edge Hub, and what happens while the link is down."""

import pytest

from gateway import Device
from gateway.hub.identity import Identity
from gateway.hub.scope import UNREACHABLE
from gateway.upstream import Registry, identities
from gateway.upstream.identities import Identities
from tests.gateway.packets import sas

NOW = 1_700_000_000
PRESS = Identity("any", "press", None, "1")


@pytest.fixture
def registry():
    """A gateway with one child."""
    made = Registry(edge_device_id="gw", hub_hostname="hub.test")
    made.add(Device("press"))
    return made


@pytest.fixture
def told(registry):
    """The registry as the Edge Hub asks it."""
    return Identities(lambda: registry, lambda: float(NOW))


def test_identities_of_the_scope_are_told_at_once(registry, told):
    """One, all, and that one is not in the scope."""
    answers = []
    told.fetch("press", answers.append)
    told.fetch("stranger", answers.append)
    told.fetch_all(answers.append)
    assert answers == [registry.in_scope("press"), None, registry.scope()]


def test_nothing_is_told_while_the_link_is_down(registry, told):
    """The answer comes when it is back, and is what holds then; then the observer is told, once."""
    answers, back = [], []
    told.attach(lambda: back.append(len(answers)))
    told.reach(False)
    told.fetch("new", answers.append)
    told.fetch_all(answers.append)
    told.check_token(PRESS, "x", answers.append)
    assert answers == []
    registry.add(Device("new"))
    told.reach(True)
    told.reach(True)
    assert answers == [registry.in_scope("new"), registry.scope(), False]
    assert back == [3]


def test_who_has_asked_is_forgotten_with_the_gateway(told):
    """A gateway that has stopped is told nothing."""
    answers = []
    told.reach(False)
    told.fetch("press", answers.append)
    told.attach(None)
    told.reach(True)
    assert answers == []


def test_questions_that_wait_are_bounded(told, monkeypatch):
    """Beyond the limit the answer is that the cloud cannot be reached."""
    monkeypatch.setattr(identities, "_MOST_WAITING", 2)
    answers = []
    told.reach(False)
    told.fetch("a", answers.append)
    told.fetch("b", answers.append)
    told.fetch("c", answers.append)
    told.fetch_all(answers.append)
    told.check_token(PRESS, "x", answers.append)
    assert answers == [UNREACHABLE, UNREACHABLE, None]


@pytest.mark.parametrize(
    ("change", "good"),
    [({}, True), ({"host": "HUB.test"}, True), ({"host": "gw.test"}, False), ({"ttl": -1}, False),
     ({"key": "AAAA"}, False), ({"name": "other"}, False)],
)  # fmt: skip
def test_hub_judges_a_token_itself(registry, told, change, good):
    """By its own name alone, and without granting time after the expiry."""
    facts = {"host": "hub.test", "ttl": 60, "key": registry.get("press").primary_key, "name": "press"} | change
    token = sas(f"{facts['host']}/devices/{facts['name']}", facts["key"], NOW + facts["ttl"])
    answers = []
    told.check_token(PRESS, token, answers.append)
    assert answers == [good]


def test_hub_refuses_whom_it_does_not_know(registry, told):
    """Unknown, disabled, or authenticated by certificate; and what is no token."""
    registry.add(Device("off", primary_key="AAAA", enabled=False))
    registry.add(Device("cert", authentication="certificateAuthority"))
    answers = []
    for name in ("ghost", "off", "cert"):
        token = sas(f"hub.test/devices/{name}", "AAAA", NOW + 60)
        told.check_token(Identity("h", name, None, "1"), token, answers.append)
    told.check_token(PRESS, "no token", answers.append)
    assert answers == [False] * 4


def test_hub_knows_devices_out_of_every_scope(registry, told):
    """Its judgement does not depend on the gateway."""
    device = registry.add(Device("free", parent=None))
    answers = []
    token = sas("hub.test/devices/free", device.primary_key, NOW + 60)
    told.check_token(Identity("h", "free", None, "1"), token, answers.append)
    assert answers == [True]
