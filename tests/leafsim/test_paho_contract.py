"""paho's private names that leafsim.client relies on: an upgrade that changes one fails here, by name."""

import inspect
import socket

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from leafsim.client import Client
from leafsim.routes import Routes


@pytest.mark.parametrize("name", ["_create_socket_connection", "_handle_connack", "_thread_main"])
def test_overridden_method_exists_without_arguments(name):
    """What Client overrides is a method of paho's that takes nothing but self."""
    assert list(inspect.signature(getattr(mqtt.Client, name)).parameters) == ["self"]
    assert getattr(Client, name) is not getattr(mqtt.Client, name)


def test_nothing_else_is_overridden():
    """Every private name of paho's that Client defines is in the list above."""
    ours = {name for name in vars(Client) if name.startswith("_") and hasattr(mqtt.Client, name)}
    assert {name for name in ours if not name.startswith("__")} == {
        "_create_socket_connection",
        "_handle_connack",
        "_thread_main",
    }


def test_connect_makes_its_socket_where_it_is_overridden(monkeypatch):
    """connect() asks _create_socket_connection for the TCP connection, and only that; host and port are public."""

    class Stop(Exception):
        pass

    def stop(self):
        raise Stop(self.host, self.port)

    monkeypatch.setattr(mqtt.Client, "_create_socket_connection", stop)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    with pytest.raises(Stop) as caught:
        client.connect("gw.factory.test", 8883)
    assert caught.value.args == ("gw.factory.test", 8883)


def test_connack_packet_is_two_bytes_in_the_incoming_packet(serve, leaf, monkeypatch):
    """While _handle_connack runs, _in_packet["packet"] holds flags and return code (MQTT 3.1.1, figure 3.8)."""
    seen = []
    original = mqtt.Client._handle_connack

    def look(self):
        seen.append(bytes(self._in_packet["packet"]))
        return original(self)

    monkeypatch.setattr(mqtt.Client, "_handle_connack", look)
    leaf(serve(session_present=True)).connect()
    assert seen == [b"\x01\x00"]


def test_thread_main_runs_the_connection(serve, leaf, paho_threads):
    """loop_start() runs _thread_main on a new thread, which lives as long as the connection."""
    device = leaf(serve())
    device.connect()
    assert paho_threads() == ["paho-mqtt-client-press-7"]


def test_code_1_is_kept_by_paho():
    """The reason for the override of _handle_connack still stands: paho does not report code 1 by itself."""
    source = inspect.getsource(mqtt.Client._handle_connack)
    assert "CONNACK_REFUSED_PROTOCOL_VERSION" in source
    assert "if not self._reconnect_on_failure" in source


def test_route_is_taken(serve):
    """The override connects where the route leads, and says that TCP is done."""
    responder = serve(manner="silent")
    client = Client(Routes({("gw.factory.test", 8883): ("127.0.0.1", responder.port)}), client_id="d")
    client._host, client._port = "gw.factory.test", 8883
    with client._create_socket_connection() as connection:
        assert isinstance(connection, socket.socket)
        assert connection.getpeername() == ("127.0.0.1", responder.port)
    assert client.phase == "tls"
