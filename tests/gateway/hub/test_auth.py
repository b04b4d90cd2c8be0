"""The rules of SAS tokens."""

import base64
import hashlib
import hmac

import pytest

from gateway.hub.auth import TokenFault, check_expiry, check_token, parse_token
from gateway.hub.identity import Identity

NOW, SKEW = 1_700_000_000.0, 300
KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
DEVICE = Identity("hub.test", "press", None, "1")
MODULE = Identity("hub.test", "press", "filter", "1")


def signed(resource="hub.test%2Fdevices%2Fpress", se="1700003600", key=KEY, form="sr={sr}&sig={sig}&se={se}"):
    """A token of any shape, signed over `resource` as it stands."""
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{se}".encode(), hashlib.sha256).digest()
    sig = base64.b64encode(digest).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return "SharedAccessSignature " + form.format(sr=resource, sig=sig, se=se)


def judge(token, identity=DEVICE, keys=(KEY,), now=NOW):
    """Check against the hub `hub.test` and the gateway `gw.test`."""
    read = parse_token(token)
    if read is None:
        return TokenFault.MALFORMED
    return check_expiry(read, now, SKEW) or check_token(read, identity, keys=keys, hosts={"hub.test", "gw.test"})


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(form="sr={sr}&sig={sig}&se={se}&skn="),
        signed(form="sr={sr}&sig={sig}&se={se}&skn=iothubowner"),
        signed(form="SE={se}&Sig={sig}&SR={sr}"),
        signed("hub.test/devices/press"),
        signed("HUB.Test%2fDevices%2FPRESS"),
        signed("gw.test%2Fdevices%2Fpress"),
        signed("gw.test%2Fanything%2Fpress"),
        signed("GW.TEST%2Fdevices%2Fpress"),
        signed(se="1700003600000"),
        signed(se="1.7000036e9"),
    ],
)
def test_token_is_good(token):
    """Order and case of fields, case of host and ids, gateway or hub, milliseconds: all pass.

    The word between host and device is not looked at.
    """
    assert judge(token) is None


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ("", TokenFault.MALFORMED),
        ("SharedAccessSignature", TokenFault.MALFORMED),
        (signed().replace("SharedAccessSignature", "sharedaccesssignature"), TokenFault.MALFORMED),
        (signed().replace(" ", "  "), TokenFault.MALFORMED),
        (signed().replace(" ", "\t"), TokenFault.MALFORMED),
        (signed().replace(" ", ""), TokenFault.MALFORMED),
        (" " + signed(), TokenFault.MALFORMED),
        (signed() + " ", TokenFault.MALFORMED),
        (signed(form="sr={sr}&sig={sig}&se={se}&skn=my policy"), TokenFault.MALFORMED),
        (signed(form="sig={sig}&se={se}"), TokenFault.MALFORMED),
        (signed(form="sr={sr}&se={se}"), TokenFault.MALFORMED),
        (signed(form="sr={sr}&sig={sig}"), TokenFault.MALFORMED),
        (signed(form="sr={sr}&sig={sig}&se"), TokenFault.MALFORMED),
        (signed(se="tomorrow"), TokenFault.MALFORMED),
        (signed(se="inf"), TokenFault.MALFORMED),
        (signed(se="nan"), TokenFault.MALFORMED),
        (signed(se=""), TokenFault.MALFORMED),
        (signed("hub.test"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fpress%2F"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fpress%2Fmessages%2Fevents"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fpress%2F%3Fapi-version%3D1"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fpress%2Fmodules%2Ffilter"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fother"), TokenFault.AUDIENCE),
        (signed("hub.test%2Fdevices%2Fpress%2Fmessages"), TokenFault.AUDIENCE),
        (signed("other.test%2Fdevices%2Fpress"), TokenFault.HOST),
        (signed("hub.test.%2Fdevices%2Fpress"), TokenFault.HOST),
        (signed("%2Fdevices%2Fpress"), TokenFault.HOST),
        (signed(key=OTHER), TokenFault.KEY),
        (signed().replace("1700003600", "1700003601"), TokenFault.KEY),
        (signed(form="sr={sr}&sig=AAAA&se={se}"), TokenFault.KEY),
        (signed(form="sr={sr}&sig=&se={se}"), TokenFault.KEY),
        (signed(form="sr={sr}&sig=%FF%FE&se={se}"), TokenFault.KEY),
        (signed(se="-1"), TokenFault.EXPIRED),
    ],
)
def test_token_is_refused_for_one_reason(token, fault):
    """Each broken rule is told apart; the reason never repeats the token."""
    assert judge(token) is fault
    assert "sig=" not in fault
    assert "%2F" not in fault


def test_token_signed_over_another_spelling_of_its_audience_is_refused():
    """What is signed is `sr` exactly as sent: the same audience escaped differently needs its own signature."""
    assert judge(signed("hub.test%2Fdevices%2Fpress")) is None
    assert judge(signed("hub.test%2Fdevices%2Fpress").replace("%2Fdevices", "%2fdevices")) is TokenFault.KEY


@pytest.mark.parametrize(("late", "fault"), [(0, None), (300, None), (300.001, TokenFault.EXPIRED)])
def test_token_is_good_for_five_minutes_after_its_expiry(late, fault):
    """A token counts as expired once se + 5 minutes is before now, not at it."""
    assert judge(signed(se="1700000000"), now=NOW + late) is fault


@pytest.mark.parametrize(("keys", "fault"), [((OTHER, KEY), None), ((OTHER,), TokenFault.KEY), ((), TokenFault.KEY)])
def test_token_may_be_signed_with_any_of_the_keys(keys, fault):
    """Primary or secondary, or none of them."""
    assert judge(signed(), keys=keys) is fault


def test_token_of_a_module_names_the_module_or_its_device():
    """Five parts, or the three of its device; never another module's or another device's."""
    assert judge(signed("hub.test%2Fdevices%2Fpress%2Fmodules%2FFILTER"), MODULE) is None
    assert judge(signed("hub.test%2Fdevices%2Fpress"), MODULE) is None
    assert judge(signed("hub.test%2Fdevices%2Fother"), MODULE) is TokenFault.AUDIENCE
    assert judge(signed("hub.test%2Fdevices%2Fother%2Fmodules%2Ffilter"), MODULE) is TokenFault.AUDIENCE
    assert judge(signed("hub.test%2Fdevices%2Fpress%2Fmodules%2Fother"), MODULE) is TokenFault.AUDIENCE


def test_token_with_a_broken_key_in_the_registry_is_refused():
    """A stored key that is no base64 signs nothing, and raises nothing."""
    assert judge(signed(), keys=("not base64",)) is TokenFault.KEY


def test_token_never_shows_its_signature():
    """Neither repr nor str of a parsed token has the signature."""
    token = parse_token(signed())
    assert token is not None
    assert token.signature not in f"{token!r} {token}"
