"""Connection strings: exact text, and an answer to every mistake."""

import pytest

from leafsim import ConnectionString, ConnectionStringError
from tests.leafsim.conftest import KEY, STRING


def test_parse_device_with_gateway():
    """A device's string gives hub, device and gateway; the gateway is where it connects."""
    found = ConnectionString.parse(STRING)
    assert (found.host_name, found.device_id, found.module_id) == ("hub.leafgate.test", "press-7", None)
    assert (found.gateway_host_name, found.target, found.client_id) == ("gw.factory.test", "gw.factory.test", "press-7")
    assert found.shared_access_key == KEY


def test_parse_without_gateway_connects_to_the_hub():
    """Without GatewayHostName the hub is the target, as with every SDK."""
    assert ConnectionString.parse(f"HostName=h.test;DeviceId=d;SharedAccessKey={KEY}").target == "h.test"


def test_parse_module():
    """A module's client id and token resource carry both ids."""
    found = ConnectionString.parse(f"HostName=h.test;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=g")
    assert (found.client_id, found.resource) == ("d/m", "h.test/devices/d/modules/m")


def test_parse_x509():
    """x509=true stands in for a key."""
    found = ConnectionString.parse("HostName=h.test;DeviceId=d;x509=true;GatewayHostName=g")
    assert found.x509
    assert found.shared_access_key is None
    assert str(found) == "HostName=h.test;DeviceId=d;x509=true;GatewayHostName=g"


@pytest.mark.parametrize(
    "text",
    [
        STRING,
        f"HostName=h.test;DeviceId=d;SharedAccessKey={KEY}",
        f"HostName=h.test;DeviceId=d;ModuleId=$edgeHub;SharedAccessKey={KEY};GatewayHostName=10.0.0.4",
        f"HostName=h.test;DeviceId=a=b;SharedAccessKey={KEY};GatewayHostName=::1",
    ],
)
def test_text_round_trip(text):
    """What was read is written again letter by letter: exact key case, no trailing semicolon."""
    assert str(ConnectionString.parse(text)) == text


def _with(old, new):
    assert old in STRING
    return STRING.replace(old, new)


MISTAKES = {
    "": ("empty", None),
    STRING + ";": ("trailing-semicolon", None),
    STRING + "\n": ("blank", None),
    f'"{STRING}"': ("blank", None),
    _with("GatewayHostName", "GatewayHostname"): ("wrong-case", "GatewayHostName"),
    _with("HostName=hub", "hostname=hub"): ("wrong-case", "HostName"),
    _with("DeviceId", "DeviceID"): ("wrong-case", "DeviceId"),
    _with("GatewayHostName", "GatewayHostNam"): ("unknown-key", "GatewayHostNam"),
    _with("GatewayHostName", "Protocol"): ("unknown-key", "Protocol"),
    _with(";DeviceId", "; DeviceId"): ("blank", "DeviceId"),
    _with("press-7", "press-7 "): ("blank", "DeviceId"),
    _with("press-7", ""): ("empty-value", "DeviceId"),
    _with("press-7", "press 7"): ("bad-value", "DeviceId"),
    _with("press-7", "press/7"): ("bad-value", "DeviceId"),
    _with("press-7", "p" * 129): ("bad-value", "DeviceId"),
    _with("DeviceId=press-7;", ""): ("missing", "DeviceId"),
    _with("HostName=hub.leafgate.test;", ""): ("missing", "HostName"),
    _with(f"SharedAccessKey={KEY};", ""): ("missing", "SharedAccessKey"),
    _with(KEY, KEY[:-1]): ("bad-key", "SharedAccessKey"),
    _with(KEY, "not base64!"): ("bad-key", "SharedAccessKey"),
    _with(";DeviceId", ";;DeviceId"): ("no-equals", None),
    _with("DeviceId=press-7", "DeviceId"): ("no-equals", "DeviceId"),
    _with("DeviceId=press-7", "DeviceId=press-7;DeviceId=press-8"): ("duplicate", "DeviceId"),
    _with("gw.factory.test", "gw.factory.test:8883"): ("bad-value", "GatewayHostName"),
    _with("gw.factory.test", "mqtts://gw.factory.test"): ("bad-value", "GatewayHostName"),
    _with("gw.factory.test", ".factory.test"): ("bad-value", "GatewayHostName"),
    _with("DeviceId=press-7", "SharedAccessKeyName=iothubowner"): ("not-for-devices", "SharedAccessKeyName"),
    STRING + ";x509=true": ("conflict", "x509"),
    _with(f"SharedAccessKey={KEY}", "x509=yes"): ("bad-value", "x509"),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=[f"{p}-{k}" for p, k in MISTAKES.values()])
def test_mistake_is_named_with_a_way_out(text, expected):
    """Each mistake has its own word, names the key concerned, and says what to write instead."""
    with pytest.raises(ConnectionStringError) as caught:
        ConnectionString.parse(text)
    assert (caught.value.problem, caught.value.part) == expected
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_wrong_case_shows_both_spellings():
    """The commonest slip, which sends the Node SDK to the hub without a word, is shown as it is and as it should be."""
    with pytest.raises(ConnectionStringError, match="`GatewayHostname` is spelled `GatewayHostName`"):
        ConnectionString.parse(_with("GatewayHostName", "GatewayHostname"))


def test_misspelt_key_gets_a_suggestion():
    """A key that is nearly right is answered with the right one."""
    with pytest.raises(ConnectionStringError) as caught:
        ConnectionString.parse(_with("GatewayHostName", "GatewyHostName"))
    assert caught.value.hint == "did you mean `GatewayHostName`?"


@pytest.mark.parametrize(
    "text",
    [
        STRING + ";",
        KEY,
        f"HostName=h.test;DeviceId=d;{KEY}",
        f"HostName=h.test;DeviceId=d;SharedAccessKey {KEY}",
        f"HostName=h.test;DeviceId=d;Key={KEY}",
        f"HostName=h.test;DeviceId=d;SharedAccessKey={KEY}!",
        f"HostName=h.test;DeviceId=d e;SharedAccessKey={KEY}",
        f"HostName=h.test;DeviceId=d;SharedAccessKey={KEY};x509=true",
    ],
)
def test_error_never_shows_the_key(text):
    """Wherever the key was pasted, no error repeats it."""
    with pytest.raises(ConnectionStringError) as caught:
        ConnectionString.parse(text)
    assert KEY.rstrip("=") not in f"{caught.value} {caught.value!r} {caught.value.hint} {vars(caught.value)}"


def test_repr_hides_the_key():
    """repr() and format strings of a record show no key."""
    assert KEY not in repr(ConnectionString.parse(STRING))


def test_replace_takes_wrong_values():
    """A leaf that is wrong on purpose can be described."""
    wrong = ConnectionString.parse(STRING).replace(gateway_host_name="GW.FACTORY.TEST", shared_access_key="bm8=")
    assert str(wrong).endswith("SharedAccessKey=bm8=;GatewayHostName=GW.FACTORY.TEST")
