"""One MQTT connection to the gateway above: paho, driven by the event loop, without a thread and without a timer.

Rules: a Line is one connection and never comes back; what was not acknowledged when it ends is told to whoever waits.
Incoming messages are acknowledged by the caller, in the order they came. This is the only module of the gateway that
knows paho, and the private name it overrides is held by tests/gateway/upstream/parent/test_paho_contract.py.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.upstream.parent.errors import ParentError, words

KEEP_ALIVE = 300  # seconds, as the .NET SDK has it
Done = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Hello:
    """Who connects; the password never shows in a repr."""

    client_id: str
    username: str
    password: str = field(repr=False)


class Incoming(NamedTuple):
    """A PUBLISH from above; `packet_id` is what is acknowledged if `qos` is 1."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int


class LineObserver(Protocol):
    """Who has to know what comes over a line."""

    def received(self, line: Line, message: Incoming) -> None:
        """A PUBLISH has come."""

    def ended(self, line: Line, reason: str) -> None:
        """The connection is over; everything that waited for it has been told."""


class _Client(mqtt.Client):
    """paho's client on a connection that is there already."""

    def __init__(self, client_id: str, plug: socket.socket) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._plug = plug

    def _create_socket_connection(self) -> socket.socket:
        return self._plug


class Line:
    """An open connection; made by `open`."""

    def __init__(self, hello: Hello, plug: ssl.SSLSocket, observer: LineObserver) -> None:
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._plug = plug
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._awaiting: dict[int, Done] = {}
        self._open = False
        self._over = False
        self._client = client = _Client(hello.client_id, plug)
        client.username_pw_set(hello.username, hello.password)
        client.max_inflight_messages_set(0)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write

    @classmethod
    async def open(cls, hello: Hello, plug: ssl.SSLSocket, observer: LineObserver) -> Line:
        """Say CONNECT and wait for the answer. Raises ParentError; the socket is closed then."""
        line = cls(hello, plug, observer)
        try:
            line._client.connect(plug.server_hostname or "parent", 8883, KEEP_ALIVE)
            await line._connected
        except OSError as wrong:
            line.abort()
            raise ParentError("mqtt", f"the connection broke: {words(wrong)}") from None
        except BaseException:
            line.abort()
            raise
        line._open = True
        return line

    @property
    def open_(self) -> bool:
        """Whether it stands."""
        return self._open and not self._over

    @property
    def busy(self) -> bool:
        """Whether something has not been acknowledged yet."""
        return bool(self._awaiting)

    def publish(self, topic: str, payload: bytes, done: Done | None = None, *, qos: int = 1) -> None:
        """Send; `done` is told whether the other side has it, or that the connection is over (QoS 1 only)."""
        if not self.open_:
            if done is not None:
                done(False)
            return
        sent = self._client.publish(topic, payload, qos)
        if done is not None and sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._awaiting[sent.mid] = done
        elif done is not None:
            done(False)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe; the gateway above grants everything."""
        if self.open_:
            self._client.subscribe(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take it back."""
        if self.open_:
            self._client.unsubscribe(topic_filter)

    def acknowledge(self, packet_id: int) -> None:
        """Say PUBACK."""
        if self.open_:
            self._client.ack(packet_id, 1)

    def tick(self) -> None:
        """Keep the connection alive."""
        if self.open_:
            self._client.loop_misc()

    def close(self) -> None:
        """Say DISCONNECT and end it; the observer hears nothing any more."""
        if self.open_:
            self._client.disconnect()
            self._client.loop_write()
        self.abort()

    def abort(self) -> None:
        """End it without a word."""
        self._over = True
        self._forget_socket(self._plug)
        self._plug.close()
        if not self._connected.done():
            self._connected.cancel()
        self._tell_waiting()

    # -- what paho calls ----------------------------------------------------------------------------------------------

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if self._connected.done():
            return
        if code.is_failure:
            said = f"CONNECT was refused: {code.getName()}"
            self._connected.set_exception(ParentError("mqtt", said, refused=True))
        else:
            self._connected.set_result(None)

    def _on_disconnect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        # What paho has no code for in MQTT 3.1.1 is a connection that is simply gone.
        said = code.getName()
        reason = "the parent closed the connection" if said in ("Success", "Unspecified error") else said.lower()
        if not self._connected.done():
            self._connected.set_exception(ParentError("mqtt", f"{reason} before it answered CONNECT"))
        if not self._over and self._open:
            self._over = True
            self._tell_waiting()
            self._loop.call_soon(self._observer.ended, self, reason)

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        if not self._over:
            self._observer.received(self, Incoming(message.topic, bytes(message.payload), message.qos, message.mid))

    def _on_publish(self, client: mqtt.Client, data: Any, mid: int, code: Any, properties: Any) -> None:
        done = self._awaiting.pop(mid, None)
        if done is not None:
            done(True)

    def _on_socket_open(self, client: mqtt.Client, data: Any, plug: Any) -> None:
        self._loop.add_reader(plug, self._read)

    def _on_socket_close(self, client: mqtt.Client, data: Any, plug: Any) -> None:
        self._forget_socket(plug)

    def _on_register_write(self, client: mqtt.Client, data: Any, plug: Any) -> None:
        self._loop.add_writer(plug, client.loop_write)

    def _on_unregister_write(self, client: mqtt.Client, data: Any, plug: Any) -> None:
        self._loop.remove_writer(plug)

    def _read(self) -> None:
        """Read until nothing is left: what OpenSSL has decrypted already, no selector tells of."""
        self._client.loop_read()
        while not self._over and (plug := cast("ssl.SSLSocket | None", self._client.socket())) and plug.pending():
            self._client.loop_read()

    def _forget_socket(self, plug: Any) -> None:
        if plug.fileno() >= 0:
            self._loop.remove_reader(plug)
            self._loop.remove_writer(plug)

    def _tell_waiting(self) -> None:
        waiting, self._awaiting = self._awaiting, {}
        for done in waiting.values():
            done(False)
