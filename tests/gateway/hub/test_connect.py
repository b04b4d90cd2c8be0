"""CONNACK codes: every row of the table, decided without a socket."""

import pytest

from gateway.hub.connect import Admission, ConnackCode, Connect
from gateway.hub.service_identity import Authentication
from tests.gateway.hub.identities import KEY, NOW, World, device, thumbprint_device
from tests.gateway.packets import sas

GOOD = sas("hub.test/devices/press", KEY, NOW + 60).encode()


def judge(known=None, certificates=(), *, client_id="press", username="hub.test/press/?api-version=1", password=GOOD):
    """The verdict for a CONNECT when the scope has `known`."""
    world = World(*filter(None, [known]))
    verdicts = []
    connect = Connect(client_id, username, password, True, 60, None)
    Admission(world.authenticator).judge(connect, certificates, verdicts.append)
    (verdict,) = verdicts
    return verdict


def test_connect_with_a_good_token_is_accepted():
    """Code 0, no reason, and what was shown."""
    verdict = judge(device())
    assert (verdict.code, verdict.reason) == (ConnackCode.ACCEPTED, "")
    assert (verdict.proof.identity.client_id, verdict.proof.password, verdict.proof.certificates) == ("press", GOOD, ())


@pytest.mark.parametrize(
    ("facts", "code", "reason"),
    [
        ({"username": None}, 3, "the user name cannot be read"),
        ({"username": "hub.test/press?api-version=1"}, 3, "the user name cannot be read"),
        ({"username": "hub.test/press/?api-version="}, 3, "api-version"),
        ({"client_id": ""}, 3, "the client id is blank"),
        ({"client_id": " \t"}, 3, "the client id is blank"),
        ({"client_id": "Press"}, 5, "the client id 'Press' is not 'press'"),
        ({"client_id": "press/"}, 5, "the client id"),
        ({"client_id": "press/mod", "username": "hub.test/press/mod?&api-version=1"}, 5, "the client id"),
        ({"password": None}, 5, "neither token nor certificate"),
        ({"password": b""}, 5, "neither token nor certificate"),
        ({"password": b"\xff\xfe"}, 5, "is not a SharedAccessSignature"),
        ({"password": sas("hub.test/devices/press", KEY, NOW - 301).encode()}, 5, "the token has expired"),
        ({"known": None}, 5, "press is not in the scope of this gateway"),
        ({"known": device(enabled=False)}, 5, "press is disabled"),
        ({"known": thumbprint_device("AB")}, 5, "does not authenticate with keys"),
        ({"known": device(authentication=Authentication.NONE)}, 5, "does not authenticate with keys"),
        ({"known": device(authentication=Authentication.CERTIFICATE_AUTHORITY)}, 5, "does not authenticate with keys"),
        ({"known": device(keys=("AAAA",))}, 5, "the signature matches neither"),
    ],
)
def test_connect_is_refused(facts, code, reason):
    """The code of the table and the one reason."""
    verdict = judge(**{"known": device(), **facts})
    assert verdict.code == code
    assert reason in verdict.reason


def test_connect_without_a_password_is_judged_by_its_certificate():
    """One that cannot be read is refused with 5 and its own reason; so is every certificate of a module."""
    verdict = judge(thumbprint_device("AB"), [b"garbage"], password=None)
    assert (verdict.code, verdict.reason) == (5, "the certificate cannot be read")
    name = {"client_id": "press/m", "username": "hub.test/press/m/?api-version=1"}
    verdict = judge(thumbprint_device("AB", module="m"), [b"garbage"], password=None, **name)
    assert (verdict.code, verdict.reason) == (5, "modules cannot authenticate with a certificate")


def test_connect_with_token_and_certificate_is_judged_on_the_token():
    """A password wins: the certificate is not even looked at, unless the password is empty."""
    assert judge(device(), [b"garbage"]).code == 0
    assert judge(thumbprint_device("AB"), [b"garbage"]).reason == "the device does not authenticate with keys"
    assert judge(thumbprint_device("AB"), [b"garbage"], password=b"").reason == "the certificate cannot be read"


def test_connect_never_shows_its_secrets():
    """The password of a CONNECT, the proof made of it and the keys of a device are in no repr."""
    shown = repr(Connect("press", "u", GOOD, True, 60, None)) + repr(device()) + repr(judge(device()))
    assert "sig=" not in shown
    assert KEY not in shown
