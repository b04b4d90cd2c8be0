"""Keys and signatures show nowhere: not in reprs, not in errors, not in logs."""

import logging
import traceback
from urllib.parse import quote

import pytest

from leafsim import Device, Leaf, LeafError, SasToken
from tests.leafsim.conftest import KEY, STRING
from tests.leafsim.responder import CONNECT


def _signature(responder) -> str:
    return responder.wait(CONNECT)[0].password.partition("sig=")[2].partition("&")[0]


def test_reprs_show_no_key():
    """Nothing that is printed while debugging shows the key."""
    device = Device(STRING, trust=None)
    token = SasToken.sign("h/devices/d", KEY, 1)
    shown = f"{device!r} {device.connection!r} {Leaf(STRING, trust=None)!r} {token!r}"
    assert KEY not in shown
    assert token.signature not in shown


@pytest.mark.parametrize("options", [{"connack": 5}, {"connack": 1}, {"manner": "hang-up"}, {"manner": "garbage"}])
def test_failures_show_no_secret(serve, leaf, caplog, options):
    """Neither an error with its traceback nor any log line down to DEBUG shows key or signature."""
    caplog.set_level(logging.DEBUG)
    responder = serve(**options)
    with pytest.raises(LeafError) as caught:
        leaf(responder).connect()
    said = "".join(traceback.format_exception(caught.value)) + caplog.text + str(vars(caught.value))
    signature = _signature(responder)
    assert len(signature) > 40
    for secret in (KEY, quote(KEY, safe=""), signature):
        assert secret not in said


def test_success_shows_no_secret(serve, leaf, caplog):
    """A session that goes well logs no secret either."""
    caplog.set_level(logging.DEBUG)
    responder = serve()
    with leaf(responder) as device:
        device.send("x")
    assert KEY not in caplog.text
    assert _signature(responder) not in caplog.text
