"""paho's client with the little that a leaf needs and paho keeps to itself.

Rule: every private name of paho that is relied on is here, and tests/leafsim/test_paho_contract.py holds each of them.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from leafsim.routes import Routes


class Client(mqtt.Client):
    """paho's client, which also knows where TCP goes, the CONNACK code as sent, and which thread serves it."""

    def __init__(self, routes: Routes, *, client_id: str, clean_session: bool = True) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean_session,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        self.routes = routes
        self.phase = "tcp"
        self.connack: int | None = None
        self.thread: threading.Thread | None = None
        self.thread_known = threading.Event()
        self.on_thread_end: Callable[[str], None] | None = None

    def _create_socket_connection(self) -> socket.socket:
        where = self.routes.resolve(self.host, self.port)
        connection = socket.create_connection(where, timeout=self.connect_timeout)
        self.phase = "tls"
        return connection

    def _handle_connack(self) -> MQTTErrorCode:
        # paho keeps code 1 to itself when it may not fall back to MQTT 3.1.
        self.connack = self._in_packet["packet"][1]
        return super()._handle_connack()

    def _thread_main(self) -> None:
        self.thread = threading.current_thread()
        self.thread_known.set()
        reason = "the connection was closed"
        try:
            super()._thread_main()
        except Exception as error:  # noqa: BLE001 - whatever a packet made paho raise: the leaf is disconnected now
            reason = f"the gateway sent what is no MQTT ({type(error).__name__})"
        finally:
            if self.on_thread_end:
                self.on_thread_end(reason)


def cut(client: mqtt.Client) -> None:
    """Take the line away: whatever the client is reading or writing fails now."""
    connection = client.socket()
    if isinstance(connection, socket.socket):
        # Not SSLSocket.shutdown: that takes the TLS object away from under the thread that reads.
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def tls_version(client: mqtt.Client) -> str | None:
    """Return the TLS version of the open connection."""
    connection = client.socket()
    return connection.version() if isinstance(connection, ssl.SSLSocket) else None
