"""SAS tokens."""

import base64
import hashlib
from urllib.parse import unquote

import pytest

from leafsim import ConnectionStringError, SasToken, sas_token

KEY = base64.b64encode(bytes(range(32))).decode()


def _hmac_by_hand(key: bytes, text: bytes) -> bytes:
    """RFC 2104, section 2, written out."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in padded) + text).digest()
    return hashlib.sha256(bytes(one ^ 0x5C for one in padded) + inner).digest()


def test_token_text_of_a_device():
    """A token is sr, sig, se in this order, sr encoded; this signature was made with `openssl dgst -mac HMAC`."""
    token = sas_token("myhub.azure-devices.net/devices/dev1", KEY, 1_800_000_000)
    assert token == (
        "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev1"
        "&sig=UQbmPQue4iahVttJDmHCBb3PKwc9w0PquoOKebM1SV4%3D&se=1800000000"
    )


def test_signature_of_a_module():
    """The encoded resource, a line feed and the expiry are what is signed."""
    token = sas_token("h.test/devices/d/modules/$edgeHub", KEY, 99)
    where, signature, expiry = token.removeprefix("SharedAccessSignature ").split("&")
    assert where == "sr=h.test%2Fdevices%2Fd%2Fmodules%2F%24edgeHub"
    assert expiry == "se=99"
    signed = b"h.test%2Fdevices%2Fd%2Fmodules%2F%24edgeHub\n99"
    assert base64.b64decode(unquote(signature.removeprefix("sig="))) == _hmac_by_hand(bytes(range(32)), signed)


def test_repr_hides_the_signature():
    """A token in a log shows what it is for and until when, not what it is worth."""
    token = SasToken.sign("h.test/devices/d", KEY, 99)
    assert repr(token) == "SasToken(resource='h.test/devices/d', expires=99)"


def test_key_that_is_no_base64():
    """A key that was cut off is refused, and not shown."""
    with pytest.raises(ConnectionStringError) as caught:
        sas_token("h.test/devices/d", "c2VjcmV0c", 99)
    assert caught.value.problem == "bad-key"
    assert "c2VjcmV0c" not in str(caught.value)
