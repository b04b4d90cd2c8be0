"""One leaf device: one object, one paho client per connection, a blocking API that any thread may call.

    with Device(connection_string, trust=Path("root.pem")) as device:
        device.send({"temperature": 21}, {"line": "4"})

Rule: after `disconnect` nothing is left, no thread and no socket. Nothing is sent again by itself: whoever calls `send`
learns how it ended.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import quote

from leafsim import tls, topics
from leafsim.connection import ConnectionString
from leafsim.credentials import ClientCertificate, sas_token
from leafsim.errors import LeafError, NotAcknowledged
from leafsim.routes import Address, Routes
from leafsim.session import Received, Session

API_VERSION = "2021-04-12"
Body = bytes | str | Mapping[str, Any] | Sequence[Any]


class Device:
    """A leaf device or module.

    `client_id`, `username` and `sas_expires` replace what follows from the connection string, for leaves that are wrong
    on purpose. `connect_to` lets TCP go elsewhere while SNI and verification keep the name. `on_message` is called on
    the connection's thread for whatever arrives, `on_disconnect` once with the reason when a connection has ended.
    """

    def __init__(
        self,
        connection_string: str | ConnectionString,
        *,
        trust: tls.Trust,
        port: int = 8883,
        client_id: str | None = None,
        username: str | None = None,
        sas_expires: float | None = None,
        sas_ttl: float = 3600,
        connect_to: Mapping[Address, Address] | None = None,
        keep_alive: int = 60,
        clean_session: bool = False,
        client_certificate: ClientCertificate | None = None,
        on_message: Callable[[Received], None] | None = None,
        on_disconnect: Callable[[str], None] | None = None,
        api_version: str = API_VERSION,
        now: Callable[[], float] = time.time,
    ) -> None:
        parsed = connection_string
        self.connection = ConnectionString.parse(parsed) if isinstance(parsed, str) else parsed
        self.client_id = self.connection.client_id if client_id is None else client_id
        self.username = self._username(api_version) if username is None else username
        self.port = port
        self._trust = trust
        self._sas_expires = sas_expires
        self._sas_ttl = sas_ttl
        self._routes = Routes(connect_to)
        self._keep_alive = keep_alive
        self._clean_session = clean_session
        self._client_certificate = client_certificate
        self._on_message = on_message
        self._on_disconnect = on_disconnect
        self._now = now
        self._session: Session | None = None
        self._lock = threading.Lock()  # connect and disconnect exclude each other

    def __repr__(self) -> str:
        return f"Device({self.client_id!r} at {self.connection.target}:{self.port})"

    def connect(self, timeout: float = 10.0) -> None:
        """Connect and wait for the answer.

        Raises Unreachable, TlsRefused, ConnackRefused or Disconnected; each time with a fresh SAS token.
        """
        with self._lock:
            if self.connected:
                raise LeafError(f"{self.client_id} is connected already", "call disconnect() first")
            self._session = None
            session = Session(
                client_id=self.client_id,
                username=self.username,
                password=self._password(),
                context=tls.client_context(self._trust, self._client_certificate),
                routes=self._routes,
                clean_session=self._clean_session,
                on_message=self._on_message,
                on_end=self._on_disconnect,
            )
            session.open(self.connection.target, self.port, self._keep_alive, timeout)
            self._session = session

    def disconnect(self) -> None:
        """Say goodbye (MQTT DISCONNECT) and wait until the connection's thread has ended; harmless without one."""
        with self._lock:
            session = self._session
        if session is not None:
            session.close()  # without the lock: a listener that disconnects too must not wait for who waits for it

    def send(
        self,
        body: Body,
        properties: Mapping[str, str | None] | None = None,
        *,
        message_id: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Send one telemetry message with QoS 1 and wait for its acknowledgement.

        A mapping or sequence is sent as JSON, and says so in its content type. Raises Disconnected or NotAcknowledged.
        """
        session = self._open_session()
        session.refuse_own_thread("send")
        sent = self.submit(
            body,
            properties,
            message_id=message_id,
            content_type=content_type,
            content_encoding=content_encoding,
        )
        _wait(sent, "a message", timeout)

    def submit(
        self,
        body: Body,
        properties: Mapping[str, str | None] | None = None,
        *,
        message_id: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> Future[Any]:
        """Send one telemetry message; the result is there once it is acknowledged, Disconnected if it cannot be."""
        payload, is_json = _encode(body)
        topic = topics.telemetry(
            self.connection.device_id,
            self.connection.module_id,
            message_id=message_id,
            content_type=content_type or ("application/json" if is_json else None),
            content_encoding=content_encoding or ("utf-8" if is_json else None),
            properties=properties,
        )
        return self._open_session().publish(topic, payload)

    def publish(self, topic: str, payload: bytes) -> Future[Any]:
        """Publish to any topic with QoS 1, as twin requests and answers to methods are; see submit."""
        return self._open_session().publish(topic, payload)

    def subscribe(self, *filters: str, qos: int = 1, timeout: float = 10.0) -> tuple[int, ...]:
        """Subscribe and wait; returns the granted QoS of each filter, 128 for a refused one."""
        session = self._open_session()
        session.refuse_own_thread("subscribe")
        granted = _wait(session.subscribe(filters, qos), "a subscription", timeout)
        return tuple(granted)

    def wait_disconnected(self, timeout: float | None = None) -> str | None:
        """Wait until the connection ends; returns why, or None when it still stands after `timeout` seconds."""
        session = self._session
        return "never connected" if session is None else session.wait_ended(timeout)

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as the leaf knows."""
        return self._session is not None and self._session.ended_because is None

    @property
    def disconnect_reason(self) -> str | None:
        """Why the last connection ended; None while it stands or when there was none."""
        return None if self._session is None else self._session.ended_because

    @property
    def session_present(self) -> bool:
        """Whether the gateway remembered this client (CONNACK's session present flag)."""
        return self._session is not None and self._session.session_present

    @property
    def tls_version(self) -> str | None:
        """The TLS version of the last connection, "TLSv1.3" for example."""
        return None if self._session is None else self._session.tls_version

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *failure: object) -> None:
        self.disconnect()

    def _open_session(self) -> Session:
        session = self._session
        if session is None:
            raise LeafError(f"{self.client_id} is not connected", "call connect() first")
        return session

    def _username(self, api_version: str) -> str:
        agent = quote(f"leafgate/{version('leafgate')}", safe="")
        query = f"?api-version={api_version}&DeviceClientType={agent}"
        return f"{self.connection.host_name}/{self.connection.client_id}/{query}"

    def _password(self) -> str | None:
        key = self.connection.shared_access_key
        if key is None:
            return None
        expires = self._now() + self._sas_ttl if self._sas_expires is None else self._sas_expires
        return sas_token(self.connection.resource, key, int(expires))


def _encode(body: Body) -> tuple[bytes, bool]:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), False
    if isinstance(body, str):
        return body.encode(), False
    return json.dumps(body).encode(), True


def _wait(sent: Future[Any], what: str, timeout: float) -> Any:
    try:
        return sent.result(timeout)
    except TimeoutError:
        raise NotAcknowledged(what, timeout) from None
