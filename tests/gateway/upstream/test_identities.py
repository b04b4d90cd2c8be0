"""What the registry tells the Edge Hub, and what happens while the link is down."""

import logging

import pytest

from gateway import Device, Inbox
from gateway.hub.identity import Identity
from gateway.hub.scope import UNREACHABLE
from gateway.upstream import Registry
from gateway.upstream.identities import Identities
from gateway.upstream.link import Link, Patience
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
def moment():
    """What the line's clock shows."""
    return [0.0]


@pytest.fixture
def line(moment):
    """A line that is up."""
    return Link(Inbox(), lambda: moment[0], logging.getLogger("test"))


@pytest.fixture
def told(registry, line):
    """The registry as the Edge Hub asks it."""
    return Identities(lambda: registry, lambda: float(NOW), line, Patience(0, 20))


def test_identities_of_the_scope_are_told_at_once(registry, told):
    """One, all, and that one is not in the scope."""
    answers = []
    told.fetch("press", answers.append)
    told.fetch("stranger", answers.append)
    told.fetch_all(answers.append)
    assert answers == [registry.in_scope("press"), None, registry.scope()]


def ask_all(told):
    """Every kind of question; the list has the answers, in order."""
    answers = []
    told.fetch("new", answers.append)
    told.fetch_all(answers.append)
    told.check_token(PRESS, "x", answers.append)
    return answers


def test_questions_over_a_silent_line_get_what_holds_when_it_is_back(registry, told, line):
    """Not what held when they were asked."""
    line.switch("black-hole")
    answers = ask_all(told)
    assert answers == []
    registry.add(Device("new"))
    line.switch("up")
    assert answers == [registry.in_scope("new"), registry.scope(), False]


@pytest.mark.parametrize("state", ["throttled", "quota-exceeded"])
def test_refusal_of_iot_hub_is_no_answer(told, line, state):
    """Nobody is taken out of the scope for it."""
    line.switch(state)
    assert ask_all(told) == [UNREACHABLE, UNREACHABLE, None]


def test_line_without_a_connection_is_given_up_after_three_attempts(told, line, moment):
    """The scope is asked for over HTTPS; for a token it is tried once."""
    line.switch("refused")
    answers = ask_all(told)
    assert answers == [None]
    moment[0] = 6.0
    line.tick()
    assert answers == [None, UNREACHABLE, UNREACHABLE]


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
