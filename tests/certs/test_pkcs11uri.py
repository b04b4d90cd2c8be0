"""PKCS #11 URIs."""

import pytest

from certs import CertsError
from certs.pkcs11uri import Uri, UriError, parse


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("pkcs11:token=edge;object=device-ca", Uri(token="edge", object="device-ca")),
        ("pkcs11:token=edge;object=device-ca?pin-value=1234", Uri(token="edge", object="device-ca", pin_value="1234")),
        ("pkcs11:token=Key pairs;object=device-id", Uri(token="Key pairs", object="device-id")),
        ("pkcs11:token=Key%20pairs;object=a%3Bb%3Dc", Uri(token="Key pairs", object="a;b=c")),
        ("pkcs11:object=x;slot-id=42", Uri(slot_id=42, object="x")),
        ("pkcs11:serial=d0ae;id=%01%FF", Uri(serial="d0ae", id=b"\x01\xff")),
        ("pkcs11:token=M%C3%BCller", Uri(token="Müller")),
        ("pkcs11:token=a=b", Uri(token="a=b")),
        ("pkcs11:token=edge;", Uri(token="edge")),
        ("pkcs11:token=edge?pin-value=a%26b%3B%25+c", Uri(token="edge", pin_value="a&b;%+c")),
        ("pkcs11:token=edge?pin-source=file:/etc/pin", Uri(token="edge", pin_source="file:/etc/pin")),
        (
            "pkcs11:token=edge?module-path=/usr/lib/x.so&pin-source=/p",
            Uri(token="edge", module_path="/usr/lib/x.so", pin_source="/p"),
        ),
        (
            "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=1f;token=edge;id=%A1;object=ca;type=private",
            Uri("edge", "1f", "SoftHSM project", "SoftHSM v2", object="ca", id=b"\xa1"),
        ),
    ],
)
def test_uri_is_read_and_written_again_without_its_pin(text, uri):
    """What p11tool and IoT Edge's configuration write is read; written again it says the same, but for the PIN."""
    assert parse(text) == uri
    without_pin = parse(str(uri))
    assert without_pin.pin_value is None
    assert repr(without_pin) == repr(uri)


@pytest.mark.parametrize(
    ("text", "attribute", "words"),
    [
        ("device-ca.key.pem", None, "does not begin with pkcs11:"),
        ("PKCS11:token=x", None, "does not begin with pkcs11:"),
        ("pkcs11:", None, "which token"),
        ("pkcs11:object=device-ca", None, "which token"),
        ("pkcs11:token=a;token=b", "token", "twice"),
        ("pkcs11:label=a", "label", "no such attribute"),
        ("pkcs11:token=a;pin-value=1", "pin-value", "no such attribute"),
        ("pkcs11:token=a;type=cert", "type", "the private key"),
        ("pkcs11:slot-id=first", "slot-id", "not a number"),
        ("pkcs11:slot-id=-1", "slot-id", "not a number"),
        ("pkcs11:token=100%", "token", "does not begin an escape"),
        ("pkcs11:token=%FF", "token", "not UTF-8"),
        ("pkcs11:token=a?pin-value=1&pin-source=file:/x", "pin-source", "a pin-value, too"),
        ("pkcs11:token=a?pin-source=pin.txt", "pin-source", "absolute path"),
        ("pkcs11:token=a?pin-source=|cat", "pin-source", "absolute path"),
    ],
)
def test_what_is_no_uri_is_refused_where_it_is_wrong(text, attribute, words):
    """The attribute is named, and what to write instead."""
    with pytest.raises(UriError) as caught:
        parse(text)
    assert caught.value.attribute == attribute
    assert words in caught.value.message
    assert caught.value.hint


def test_similar_attribute_is_suggested():
    """Most unknown attributes are typing mistakes."""
    with pytest.raises(UriError) as caught:
        parse("pkcs11:token=a;objekt=b")
    assert caught.value.hint == "did you mean object?"


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a?pin-value=Geheim7",
        "pkcs11:token=a?pin-value=x&Geheim7",
        "pkcs11:token=a?pin-value=x&Geheim7=x",
        "pkcs11:token=a?pin-value=Geheim7%",
        "pkcs11:token=a?pin-value=%FFGeheim7",
        "pkcs11:object=a?pin-value=Geheim7",
        "pkcs11:token=a?pin-value=Geheim7&pin-value=Geheim7",
    ],
)
def test_pin_is_never_shown(text):
    """Neither a URI nor the error of one that is wrong has the PIN in it, also where a & cuts it in two."""
    try:
        shown = f"{parse(text)!r} {parse(text)}"
    except UriError as error:
        shown = f"{error} {error.hint}"
    assert "Geheim7" not in shown


def test_pin_source_is_read_when_it_is_needed(tmp_path):
    """The file's text without its line end is the PIN; a file that is not there is said."""
    (tmp_path / "pin").write_text("12 34\n")
    assert parse(f"pkcs11:token=a?pin-source=file:{tmp_path}/pin").pin() == "12 34"
    assert parse("pkcs11:token=a?pin-value=7").pin() == "7"
    assert parse("pkcs11:token=a").pin() is None
    with pytest.raises(CertsError, match="no such file"):
        parse(f"pkcs11:token=a?pin-source=file:{tmp_path}/none").pin()
