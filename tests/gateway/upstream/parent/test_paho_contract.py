"""paho's names that gateway.upstream.parent.line relies on: an upgrade that changes one fails here, by name."""

import inspect
import socket

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.upstream.parent.line import _Client


def test_socket_is_asked_for_by_name_and_nothing_else_is_overridden():
    """_create_socket_connection takes nothing but self, and is the only private name of paho's that is ours."""
    assert list(inspect.signature(mqtt.Client._create_socket_connection).parameters) == ["self"]
    ours = {name for name in vars(_Client) if name.startswith("_") and hasattr(mqtt.Client, name)}
    assert {name for name in ours if not name.startswith("__")} == {"_create_socket_connection"}


def test_client_takes_the_socket_it_was_given():
    """connect() speaks over it at once, and tells the event loop of it before it writes."""
    ours, theirs = socket.socketpair()
    seen = []
    client = _Client("press", ours)
    client.on_socket_open = lambda client, data, plug: seen.append(("open", plug is ours))
    client.on_socket_register_write = lambda client, data, plug: seen.append(("write", plug is ours))
    client.on_socket_close = lambda client, data, plug: seen.append(("close", plug is ours))
    with ours, theirs:
        client.connect("parent", 8883, 300)
        assert seen == [("open", True), ("write", True)]
        client.loop_write()
        assert theirs.recv(100)[:12] == bytes((0x10, 17, 0, 4)) + b"MQTT" + bytes((4, 2)) + (300).to_bytes(2, "big")


@pytest.mark.parametrize("name", ["loop_read", "loop_write", "loop_misc", "ack", "socket", "max_inflight_messages_set"])
def test_public_name_is_there(name):
    """What the event loop calls."""
    assert callable(getattr(mqtt.Client(CallbackAPIVersion.VERSION2), name))
