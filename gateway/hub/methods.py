"""Direct methods: from the caller to the client and back.

Rules: an answer belongs to the request id that the call went out with, on the connection it went out on. A call for
a client that is not there waits as long as its caller allows; when the client subscribes, waiting calls follow three
seconds later.
Sources: InvokeMethodHandler.cs and DeviceMessageHandler.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.hub.clients import Client, Clients, Sent
from gateway.hub.delivery import method_topic
from gateway.hub.subscriptions import Feature
from gateway.hub.topics import MethodResponse

_REPLAY_SECONDS = 3.0
_BAD_STATUS = 400_000
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,10}\s*\Z")


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A call of a direct method: `payload` is JSON text, timeouts are seconds."""

    client_id: str
    name: str
    payload: bytes = b"null"
    response_timeout: float = 30.0
    connect_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What became of a call.

    With `http_status` 200 the client has answered `status` and `payload` (JSON text, may be empty); 404: it was not
    there; 504: it did not answer.
    """

    status: int | None
    payload: bytes
    http_status: int = 200
    message: str = ""

    def json(self) -> Any:
        """The payload read as JSON; None when it is empty."""
        return json.loads(self.payload) if self.payload else None


Answer = Callable[[MethodResult], None]


@dataclass(slots=True)
class _Pending:
    call: MethodCall
    answer: Answer
    deadline: float  # on the monotonic clock


class MethodHandler:
    """The calls that wait for a client or its answer."""

    def __init__(self, clients: Clients, clock: Clock, log: logging.Logger) -> None:
        self._clients = clients
        self._clock = clock
        self._log = log
        self._called: dict[tuple[Client, str], _Pending] = {}
        self._waiting: dict[str, list[_Pending]] = {}
        self._replays: list[tuple[float, Client]] = []

    def invoke(self, call: MethodCall, answer: Answer) -> None:
        """Call a method; `answer` gets the result, at once or later."""
        client = self._clients.listening(call.client_id, Feature.METHODS)
        if client is not None:
            self._call(client, call, answer)
            return
        there = self._clients.get(call.client_id) is not None
        because = "no subscription for methods found" if there else "it is not connected"
        self._log.warning("Unable to invoke method on client %s because %s.", call.client_id, because)
        deadline = self._clock.monotonic() + call.connect_timeout
        self._waiting.setdefault(call.client_id, []).append(_Pending(call, answer, deadline))
        self.tick()

    def _call(self, client: Client, call: MethodCall, answer: Answer) -> None:
        request_id = str(uuid.uuid4())
        deadline = self._clock.monotonic() + call.response_timeout
        self._called[client, request_id] = _Pending(call, answer, deadline)
        if client.send(method_topic(call.name, request_id), call.payload or b"null") is not Sent.YES:
            self._log.warning("Method %s could not be sent to %s, which does not read", call.name, client.id)

    def respond(self, client: Client, response: MethodResponse, body: bytes) -> None:
        """A client has answered."""
        pending = self._called.pop((client, response.request_id.lower()), None)
        if pending is None:
            self._log.debug("No request found for method invoke response with correlation ID %s", response.request_id)
        elif _NUMBER.match(response.status) and -(1 << 31) <= int(response.status) < 1 << 31:
            pending.answer(MethodResult(int(response.status), body))
        else:
            pending.answer(MethodResult(_BAD_STATUS, b""))

    def subscribed(self, client: Client) -> None:
        """A client takes calls now: those that wait for it follow soon."""
        if client.id in self._waiting:
            self._replays.append((self._clock.monotonic() + _REPLAY_SECONDS, client))

    def closed(self, client: Client) -> None:
        """The hub has closed a client's connection: nobody waits for its answers any more."""
        for key in [key for key in self._called if key[0] is client]:
            self._time_out(key)

    def tick(self) -> None:
        """Give up on what has waited too long, and send calls to clients that have come."""
        now = self._clock.monotonic()
        for key in [key for key, pending in self._called.items() if pending.deadline <= now]:
            self._time_out(key)
        due = [client for moment, client in self._replays if moment <= now]
        self._replays = [(moment, client) for moment, client in self._replays if moment > now]
        for client in due:
            if self._clients.listening(client.id, Feature.METHODS) is client:
                for pending in self._waiting.pop(client.id, ()):
                    self._call(client, pending.call, pending.answer)
        for client_id in tuple(self._waiting):
            self._give_up(client_id, now)

    def _give_up(self, client_id: str, now: float) -> None:
        waiting = self._waiting[client_id]
        late = [pending for pending in waiting if pending.deadline <= now]
        kept = [pending for pending in waiting if pending.deadline > now]
        if kept:
            self._waiting[client_id] = kept
        else:
            del self._waiting[client_id]
        for pending in late:
            pending.answer(MethodResult(None, b"", 404, f"Client {client_id} not found"))

    def _time_out(self, key: tuple[Client, str]) -> None:
        client, request_id = key
        pending = self._called.pop(key)
        self._log.warning(
            "Did not receive response for method invoke call from device/module %s with correlation ID %s",
            client.id,
            request_id,
        )
        message = f"Timed out waiting for device to respond to method request {request_id}"
        pending.answer(MethodResult(None, b"", 504, message))
