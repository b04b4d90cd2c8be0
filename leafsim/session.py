"""One connection of a leaf: paho's client with its thread, and what is still unanswered on it.

Rule: paho calls back while it holds its own locks, so a callback never waits, and none of our locks is held while
paho is called; an acknowledgement that overtakes its registration waits in `_early`.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import MQTTMessage

from leafsim import tls
from leafsim.address import with_port
from leafsim.client import Client, cut, tls_version
from leafsim.errors import ConnackRefused, Disconnected, LeafError, TlsRefused, Unreachable
from leafsim.explain import alert_name, explain
from leafsim.routes import Routes

log = logging.getLogger("leafsim")

_GOODBYE = 2.0  # seconds for DISCONNECT to leave; a gateway that no longer reads does not hold the leaf
_KEEP_ALIVE = 141  # the reason code that paho gives when PINGREQ was not answered


@dataclass(frozen=True)
class Received:
    """A message that arrived."""

    topic: str
    body: bytes
    qos: int
    duplicate: bool = False


class Session:
    """One connection, from CONNECT to its end."""

    def __init__(
        self,
        *,
        client_id: str,
        username: str,
        password: str | None,
        context: ssl.SSLContext,
        routes: Routes,
        clean_session: bool,
        on_message: Callable[[Received], None] | None,
        on_end: Callable[[str], None] | None,
    ) -> None:
        try:
            client = Client(routes, client_id=client_id, clean_session=clean_session)
        except ValueError as error:
            raise LeafError(f"MQTT client id: {error}", "MQTT 3.1.1 wants one with clean_session=False") from None
        client.username_pw_set(username, password)
        client.tls_set_context(context)
        self._client_id = client_id
        self.ended_because: str | None = None
        self.session_present = False
        self.tls_version: str | None = None
        self._client: Client | None = client
        self._thread: threading.Thread | None = None
        self._context = context
        self._on_message = on_message
        self._on_end = on_end
        self._accepted = False
        self._leaving = False
        self._tls_errors: list[ssl.SSLError] = []
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._early: dict[int, Any] = {}
        self._answered = threading.Event()
        self._ended = threading.Event()

    def open(self, host: str, port: int, keep_alive: int, timeout: float) -> None:
        """Connect, within `timeout` seconds for TCP, TLS and CONNACK together."""
        client = self._live()
        deadline = time.monotonic() + timeout
        self._tls_errors = tls.watch(self._context, deadline)
        client.connect_timeout = timeout
        self._hook(client)
        try:
            client.connect(host, port, keep_alive)
        except (OSError, ValueError) as error:
            self._release()
            raise explain(error, client.phase, with_port(host, port), timeout) from error
        self.tls_version = tls_version(client)
        try:
            client.loop_start()
            client.thread_known.wait()
            self._thread = client.thread
            self._answered.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:  # Ctrl-C, or no thread to be had: nothing may live on that nobody holds
            self.close()
            raise
        if client.connack != 0:
            raise self._give_up(client, with_port(host, port), timeout)

    def close(self) -> None:
        """Say goodbye if there is still somebody to say it to; returns when the thread has ended."""
        client = self._client
        if client is not None and client.connack == 0 and self._leave():
            client.disconnect()
        if threading.current_thread() is self._thread:
            return  # this thread writes DISCONNECT once its listener has returned, and ends then
        if self._leaving:
            self._ended.wait(_GOODBYE)
        if client is not None:
            cut(client)
        if self._thread is not None:
            self._thread.join()

    def _leave(self) -> bool:
        """Note that the leaf ends it; whether it is the first to say so."""
        with self._lock:
            first = not self._leaving and self.ended_because is None
            self._leaving = self._leaving or first
        return first

    def publish(self, topic: str, payload: bytes) -> Future[Any]:
        """Send with QoS 1; the result is there once it is acknowledged."""
        client = self._live()
        try:
            info = client.publish(topic, payload, qos=1)
        except ValueError as error:
            raise LeafError(f"this message cannot be sent: {error}", "shorten it, or its properties") from None
        return self._expect(info.mid)

    def subscribe(self, filters: Sequence[str], qos: int) -> Future[Any]:
        """Subscribe; the result is the list of granted QoS."""
        client = self._live()
        try:
            _, mid = client.subscribe([(one, qos) for one in filters])
        except ValueError as error:
            raise LeafError(f"no such subscription: {error}", "give at least one topic filter, QoS 0 or 1") from None
        if mid is None:
            raise Disconnected(self.ended_because or "the connection is gone")
        return self._expect(mid)

    def wait_ended(self, timeout: float | None) -> str | None:
        """Wait for the end; returns the reason, or None."""
        self._ended.wait(timeout)
        return self.ended_because

    def refuse_own_thread(self, what: str) -> None:
        """Raise when called from on_message, where waiting for an answer would keep the answer from arriving."""
        if threading.current_thread() is self._thread:
            raise LeafError(f"{what}() inside on_message would wait for itself", "use submit(), or another thread")

    def _live(self) -> Client:
        if self._client is None or self.ended_because is not None:
            raise Disconnected(self.ended_because or "the connection is gone", "call connect() again")
        return self._client

    def _expect(self, mid: int) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # a message on its way cannot be called back
        with self._lock:
            if mid not in self._early and self.ended_because is None:
                self._waiting[mid] = future
                return future
            arrived, answer = mid in self._early, self._early.pop(mid, None)
        if arrived:
            future.set_result(answer)
        else:
            future.set_exception(Disconnected(self.ended_because or ""))
        return future

    def _settle(self, mid: int, answer: Any) -> None:
        with self._lock:
            future = self._waiting.pop(mid, None)
            if future is None:
                self._early[mid] = answer
        if future is not None:
            future.set_result(answer)

    def _finish(self, reason: str) -> None:
        with self._lock:
            if self.ended_because is not None:
                return
            ended_because = self.ended_because = self._alert() or reason
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(Disconnected(ended_because))
        self._ended.set()
        self._answered.set()
        if self._on_end is not None and self._accepted:
            self._call(self._on_end, ended_because)

    def _alert(self) -> str | None:
        names = [name for name in map(alert_name, self._tls_errors) if name]
        return f"the gateway sent alert {names[0]}" if names else None

    def _give_up(self, client: Client, where: str, seconds: float) -> LeafError:
        # Returned and not raised: an error in a local variable of its own traceback would keep the sockets open.
        error = self._no_connack(client, where, seconds)
        self.close()
        return error

    def _no_connack(self, client: Client, where: str, seconds: float) -> LeafError:
        if client.connack is not None:
            return ConnackRefused(client.connack)
        for name in filter(None, map(alert_name, self._tls_errors)):
            return TlsRefused(f"the gateway sent alert {name} after the handshake", alert=name)
        if self._answered.is_set():
            return Disconnected(
                "the gateway closed the connection without answering CONNECT",
                "Edge Hub does so with what is no MQTT 3.1.1; its log knows the reason",
            )
        hint = "the gateway took the connection and says nothing; look at its log"
        return Unreachable(where, "timeout", "mqtt", f"no answer to CONNECT within {seconds:g} s", hint)

    def _hook(self, client: Client) -> None:
        def on_connect(_c: Any, _u: Any, flags: Any, _code: Any, _p: Any) -> None:
            self.session_present = bool(flags.session_present)
            self._accepted = client.connack == 0
            self._answered.set()

        def on_disconnect(_c: Any, _u: Any, _f: Any, code: Any, _p: Any) -> None:
            lost = "PINGREQ was not answered" if code.value == _KEEP_ALIVE else "the gateway closed the connection"
            self._finish("the leaf disconnected" if self._leaving else lost)

        def on_message(_c: Any, _u: Any, message: MQTTMessage) -> None:
            if self._on_message is not None:
                received = Received(message.topic, bytes(message.payload), message.qos, message.dup)
                self._call(self._on_message, received)

        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        client.on_publish = lambda _c, _u, mid, _code, _p: self._settle(mid, None)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self._settle(mid, [code.value for code in codes])
        client.on_message = on_message
        client.on_thread_end = self._thread_ended

    def _call(self, listener: Callable[[Any], None], news: Any) -> None:
        try:
            listener(news)
        except Exception:
            log.exception("a listener of %s failed", self._client_id)

    def _thread_ended(self, reason: str) -> None:
        self._finish(reason)
        self._release()

    def _release(self) -> None:
        """Let go of the client, so that its sockets close now and not when the garbage collector comes."""
        client, self._client = self._client, None
        if client is None:
            return
        cut(client)
        client.on_connect = client.on_disconnect = client.on_publish = None
        client.on_subscribe = client.on_message = client.on_thread_end = None
