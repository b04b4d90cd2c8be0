"""CONNECT and what answers it."""

import base64
import hashlib
import hmac
import socket
from importlib.metadata import version
from urllib.parse import parse_qs, unquote

import pytest

from leafsim import ConnackRefused, ConnectionString, Device, Disconnected, LeafError, Unreachable
from tests.leafsim.conftest import KEY, NAME, STRING
from tests.leafsim.responder import CONNECT, DISCONNECT


def test_connect_packet_of_a_device(serve, leaf):
    """MQTT 3.1.1, a session that is kept, keep-alive 60, user name and password: byte for byte as the SDKs do."""
    responder = serve()
    leaf(responder).connect()
    packet = responder.wait(CONNECT)[0]
    assert (packet.protocol, packet.level, packet.flags, packet.keep_alive) == ("MQTT", 4, 0xC0, 60)
    assert packet.client_id == "press-7"
    agent = f"DeviceClientType=leafgate%2F{version('leafgate')}"
    assert packet.username == f"hub.leafgate.test/press-7/?api-version=2021-04-12&{agent}"


def test_connect_packet_of_a_module(serve, leaf):
    """A module names device and module, and its token is for the module."""
    responder = serve()
    leaf(responder, connection=ConnectionString.parse(STRING).replace(module_id="m1")).connect()
    packet = responder.wait(CONNECT)[0]
    assert packet.client_id == "press-7/m1"
    assert packet.username.startswith("hub.leafgate.test/press-7/m1/?api-version=2021-04-12&")
    assert "sr=hub.leafgate.test%2Fdevices%2Fpress-7%2Fmodules%2Fm1&" in packet.password


def test_password_is_a_token_for_the_hub(serve, leaf):
    """The token names the hub, not the gateway, ends sas_ttl after now, and its signature is right."""
    responder = serve()
    leaf(responder, now=lambda: 1_800_000_000.9, sas_ttl=100).connect()
    text = responder.wait(CONNECT)[0].password.removeprefix("SharedAccessSignature ")
    assert text.startswith("sr=hub.leafgate.test%2Fdevices%2Fpress-7&sig=")
    fields = parse_qs(text)
    assert fields["se"] == ["1800000100"]
    signed = b"hub.leafgate.test%2Fdevices%2Fpress-7\n1800000100"
    expected = hmac.new(base64.b64decode(KEY), signed, hashlib.sha256).digest()
    assert base64.b64decode(unquote(fields["sig"][0])) == expected


def test_each_connect_has_a_fresh_token(serve, leaf):
    """A device that connects again signs again."""
    times = iter([1000.0, 2000.0])
    responder = serve()
    device = leaf(responder, now=lambda: next(times), sas_ttl=10)
    for _ in range(2):
        device.connect()
        device.disconnect()
    assert [packet.password.rpartition("se=")[2] for packet in responder.wait(CONNECT, 2)] == ["1010", "2010"]


def test_overrides_of_a_leaf_that_is_wrong_on_purpose(serve, leaf):
    """Client id, user name, expiry, keep-alive and clean session can be anything."""
    responder = serve()
    leaf(responder, client_id="PRESS-7", username="junk", sas_expires=1.0, keep_alive=7, clean_session=True).connect()
    packet = responder.wait(CONNECT)[0]
    assert (packet.client_id, packet.username, packet.keep_alive, packet.flags) == ("PRESS-7", "junk", 7, 0xC2)
    assert packet.password.endswith("&se=1")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "unacceptable protocol version"),
        (2, "identifier rejected"),
        (3, "server unavailable"),
        (4, "bad user name or password"),
        (5, "not authorized"),
        (77, "not defined by MQTT 3.1.1"),
    ],
)
def test_connack_refusal(serve, leaf, paho_threads, code, name):
    """Each CONNACK code is given with its name in the standard; nothing is left running."""
    device = leaf(serve(connack=code))
    with pytest.raises(ConnackRefused) as caught:
        device.connect()
    assert (caught.value.code, caught.value.name, caught.value.exit_code) == (code, name, 1)
    assert not device.connected
    assert paho_threads() == []


@pytest.mark.parametrize("present", [True, False])
def test_session_present(serve, leaf, present):
    """The leaf knows whether the gateway remembered it."""
    device = leaf(serve(session_present=present))
    device.connect()
    assert device.session_present is present


def test_gateway_hangs_up_after_connect(serve, leaf, paho_threads):
    """Closing without a CONNACK, as Edge Hub does with other protocols, is its own outcome."""
    with pytest.raises(Disconnected) as caught:
        leaf(serve(manner="hang-up")).connect()
    assert "without answering CONNECT" in caught.value.reason
    assert paho_threads() == []


def test_gateway_never_answers_connect(serve, leaf, paho_threads):
    """Silence after the handshake ends with the deadline."""
    with pytest.raises(Unreachable) as caught:
        leaf(serve(manner="mute")).connect(timeout=0.3)
    assert (caught.value.cause, caught.value.phase) == ("timeout", "mqtt")
    assert paho_threads() == []


def test_gateway_answers_connect_with_garbage(serve, leaf, paho_threads):
    """A packet that paho cannot read ends the connection with a clear error, not with a dead thread."""
    with pytest.raises(Disconnected):
        leaf(serve(manner="garbage")).connect()
    assert paho_threads() == []


def test_nobody_listens(leaf, serve):
    """A closed port is "refused", and names where."""
    responder = serve()
    device = leaf(responder)
    responder.close()
    with pytest.raises(Unreachable) as caught:
        device.connect()
    assert (caught.value.cause, caught.value.phase) == ("refused", "tcp")
    assert caught.value.where == f"{NAME}:{responder.port}"


@pytest.mark.parametrize("name", ["nobody.invalid", "a" * 70 + ".invalid"])
def test_name_that_does_not_resolve(name):
    """An unknown name, or one that DNS cannot carry, comes with the ways out."""
    device = Device(ConnectionString.parse(STRING).replace(gateway_host_name=name), trust=None)
    with pytest.raises(Unreachable) as caught:
        device.connect()
    assert (caught.value.cause, caught.value.phase) == ("name", "tcp")
    assert "--connect-to" in caught.value.hint


def test_tcp_that_is_never_accepted():
    """A full backlog, as behind a firewall, ends with the deadline."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        waiting = []
        try:
            for _ in range(3):  # the kernel keeps backlog + 1 connections and ignores the next SYN
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(where)
                waiting.append(one)
            device = Device(STRING, trust=None, port=where[1], connect_to={(NAME, where[1]): where})
            with pytest.raises(Unreachable) as caught:
                device.connect(timeout=0.2)
        finally:
            for one in waiting:
                one.close()
    assert (caught.value.cause, caught.value.phase) in (("timeout", "tcp"), ("timeout", "tls"))


def test_connect_twice(serve, leaf):
    """A connected device says so instead of losing its connection."""
    device = leaf(serve())
    device.connect()
    with pytest.raises(LeafError, match="connected already"):
        device.connect()
    assert device.connected


def test_empty_client_id(serve, leaf):
    """What MQTT 3.1.1 does not allow is told, not raised by a library."""
    with pytest.raises(LeafError, match="client id"):
        leaf(serve(), client_id="").connect()


def test_with_statement(serve, leaf, paho_threads):
    """Leaving the block says goodbye and ends the thread."""
    responder = serve()
    with leaf(responder) as device:
        assert device.connected
        assert paho_threads() == ["paho-mqtt-client-press-7"]
    assert device.disconnect_reason == "the leaf disconnected"
    assert paho_threads() == []
    responder.wait(DISCONNECT)


def test_disconnect_without_connection(leaf, serve):
    """Disconnecting what is not connected is harmless, also twice."""
    device = leaf(serve())
    device.disconnect()
    device.connect()
    device.disconnect()
    device.disconnect()
    assert not device.connected
