"""TLS stacks of other languages and libraries, each against every measured chain."""

import socket

import pytest

from certs import Authority, CachedKeys, apply_defects, other_root
from certs.outcomes import outcomes
from certs.x509io import to_pem
from leafsim import STACKS
from leafsim.stacks import Target
from scenarios.matrix.server import serving
from scenarios.matrix.table import Asking, measured_row

pytestmark = pytest.mark.interop

NAME = "gw.factory.test"
OTHERS = [name for name, stack in STACKS.items() if name not in ("python", "paho") and not stack.modelled]


@pytest.fixture(scope="session", params=OTHERS)
def stack(request):
    """A stack that is a program, if it is here."""
    found = STACKS[request.param]
    if reason := found.available():
        pytest.skip(f"{request.param}: {reason}")
    yield found
    if hasattr(found, "close"):
        found.close()


@pytest.fixture(scope="session")
def chain():
    """A sound chain."""
    return Authority(hostname=NAME, key="rsa2048", keys=CachedKeys()).chain()


def test_every_measured_chain_gets_the_measured_verdict_and_message(stack):
    """147 chains: whoever connected connects, whoever refused says the same."""
    different = []
    for name in outcomes():
        row = measured_row(name, Asking((stack.name,)))
        different += [(name, answer.ok, answer.message) for answer in row.differences]
    assert different == []


def test_sound_chain_connects_and_its_twins_are_refused(stack, chain, tmp_path):
    """An untrusted root, another name, an expired certificate."""
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(to_pem([other_root(chain)]))
    with serving(chain) as (port, root):
        assert stack.probe(Target("127.0.0.1", port, NAME, root)).ok
        assert not stack.probe(Target("127.0.0.1", port, NAME, stranger)).ok
        assert not stack.probe(Target("127.0.0.1", port, NAME, None)).ok
        assert not stack.probe(Target("127.0.0.1", port, "other.factory.test", root)).ok
    with serving(apply_defects(chain, ["expired-server"])) as (port, root):
        outcome = stack.probe(Target("127.0.0.1", port, NAME, root))
    assert not outcome.ok
    assert outcome.message
    assert outcome.version


def test_nobody_listening_is_told(stack, tmp_path):
    """Not a TLS refusal."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = stack.probe(Target("127.0.0.1", port, NAME, None), 5)
    assert (outcome.ok, outcome.code) == (False, "refused")


def test_server_that_never_answers_costs_the_deadline_only(stack):
    """And nothing of the program is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts, nobody reads
        outcome = stack.probe(Target("127.0.0.1", listener.getsockname()[1], NAME, None), 2)
    assert (outcome.ok, outcome.code) == (False, "timeout")
