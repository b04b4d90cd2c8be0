"""CONNACK codes: every row of the table, decided without a socket."""

import hashlib

import pytest

from gateway.hub.connect import Admission, ClientCertificate, ConnackCode, Connect, Credentials
from tests.gateway.packets import sas

NOW = 1_700_000_000
KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
GOOD = sas("hub.test/devices/press", KEY, NOW + 60).encode()
DER = b"a certificate"
CERTIFICATE = ClientCertificate(DER, NOW - 10, NOW + 10)
SHA1, SHA256 = hashlib.sha1(DER).hexdigest(), hashlib.sha256(DER).hexdigest()


def judge(known=None, certificate=None, *, client_id="press", username="hub.test/press/?api-version=1", password=GOOD):
    """The verdict for a CONNECT when the registry says `known` of everybody."""
    admission = Admission(lambda identity: known, {"hub.test"}, 300)
    return admission.judge(Connect(client_id, username, password, True, 60, None), certificate, NOW)


def test_connect_with_a_good_token_is_accepted():
    """Code 0, and no reason."""
    verdict = judge(Credentials((KEY,)))
    assert (verdict.code, verdict.reason) == (ConnackCode.ACCEPTED, "")


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
        ({"known": None}, 5, "not in the scope"),
        ({"known": Credentials((KEY,), enabled=False)}, 5, "disabled"),
        ({"known": Credentials((), (SHA1,))}, 5, "does not authenticate with keys"),
        ({"known": Credentials(("AAAA",))}, 5, "the signature matches neither"),
    ],
)
def test_connect_is_refused(facts, code, reason):
    """The code of the table and the one reason."""
    verdict = judge(**{"known": Credentials((KEY,)), **facts})
    assert verdict.code == code
    assert reason in verdict.reason


@pytest.mark.parametrize("thumbprints", [(SHA1,), (SHA256,), (SHA1.upper(),), ("00", SHA256.upper())])
def test_connect_with_a_registered_thumbprint_is_accepted(thumbprints):
    """SHA-1 or SHA-256, primary or secondary, any case."""
    assert judge(Credentials((), thumbprints), CERTIFICATE, password=None).code == ConnackCode.ACCEPTED


@pytest.mark.parametrize(
    ("known", "certificate", "reason"),
    [
        (Credentials((), ("00", "11")), CERTIFICATE, "thumbprint is neither"),
        (Credentials((), (SHA1,)), ClientCertificate(DER, NOW - 10, NOW - 1), "expired"),
        (Credentials((), (SHA1,)), ClientCertificate(DER, NOW + 1, NOW + 10), "not valid yet"),
        (Credentials((KEY,)), CERTIFICATE, "does not authenticate with a certificate"),
    ],
)
def test_connect_with_a_bad_certificate_is_refused(known, certificate, reason):
    """An unknown thumbprint, a certificate out of its time, a device that has keys: 5, each with its reason."""
    verdict = judge(known, certificate, password=None)
    assert verdict.code == ConnackCode.NOT_AUTHORIZED
    assert reason in verdict.reason


def test_connect_of_a_module_by_certificate_is_refused():
    """Modules authenticate with keys alone."""
    name = {"client_id": "press/m", "username": "hub.test/press/m/?api-version=1"}
    verdict = judge(Credentials((), (SHA1,)), CERTIFICATE, password=None, **name)
    assert (verdict.code, verdict.reason) == (5, "modules cannot authenticate with a certificate")


def test_connect_with_token_and_certificate_is_judged_on_the_token():
    """A password wins: a good certificate does not save a bad token, a bad one does not spoil a good token."""
    both = Credentials((KEY,), (SHA1,))
    assert judge(both, CERTIFICATE, password=GOOD.replace(b"sig=", b"sig=AA")).code == 5
    assert judge(both, ClientCertificate(b"other", 0, 1)).code == 0
    assert judge(both, CERTIFICATE, password=b"").code == 0


def test_connect_never_shows_its_secrets():
    """The password of a CONNECT and the keys of a device are in no repr."""
    shown = repr(Connect("press", "u", GOOD, True, 60, None)) + repr(Credentials((KEY,)))
    assert "sig=" not in shown
    assert KEY not in shown
