"""Messages to the inputs of modules.

Rule: one message at a time per module, in order; the next goes out when the module has acknowledged, or has not for
MessageAckTimeoutSecs.
Source: DeviceMessageHandler.cs of Azure/iotedge.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.hub.clients import Client, Clients, Done, Sent
from gateway.hub.delivery import input_topic
from gateway.hub.messages import InputMessage


@dataclass(slots=True)
class _Sending:
    """The queue of one module's connection; its first message is on its way."""

    waiting: deque[tuple[InputMessage, Done]]
    deadline: float


class InputSender:
    """The messages that wait for a module."""

    def __init__(self, clients: Clients, clock: Clock, ack_timeout: float, log: logging.Logger) -> None:
        self._clients = clients
        self._clock = clock
        self._ack_timeout = ack_timeout
        self._log = log
        self._queues: dict[Client, _Sending] = {}

    def send(self, module: str, message: InputMessage, done: Done) -> None:
        """Send to an input of `device/module`; `done` is told whether the module has acknowledged it."""
        client = self._clients.get(module)
        if client is None or client.module_id is None:
            done(False)
            return
        queue = self._queues.get(client)
        if queue is not None:
            queue.waiting.append((message, done))
            return
        self._queues[client] = _Sending(deque([(message, done)]), 0.0)
        self._send_first(client)

    def _send_first(self, client: Client) -> None:
        queue = self._queues[client]
        queue.deadline = self._clock.monotonic() + self._ack_timeout
        message, done = queue.waiting[0]
        assert client.module_id is not None
        topic = input_topic(
            client.device_id, client.module_id, message.input, message.properties, message.system_properties
        )

        def acknowledged(arrived: bool) -> None:
            if self._queues.get(client) is queue and queue.waiting and queue.waiting[0][1] is done:
                self._next(client, arrived)

        if client.send(topic, message.body, acknowledged) is not Sent.YES:
            self._next(client, arrived=False)

    def _next(self, client: Client, arrived: bool) -> None:
        queue = self._queues[client]
        _, done = queue.waiting.popleft()
        if not queue.waiting:
            del self._queues[client]
        done(arrived)
        if queue.waiting and self._queues.get(client) is queue:
            self._send_first(client)

    def tick(self) -> None:
        """Give up on modules that do not acknowledge."""
        now = self._clock.monotonic()
        for client in [client for client, queue in self._queues.items() if queue.deadline <= now]:
            self._log.warning("Did not receive ack for message from device/module %s", client.id)
            self._next(client, arrived=False)

    def gone(self, client: Client) -> None:
        """A module's connection is over: what waited for it has not arrived."""
        queue = self._queues.pop(client, None)
        for _, done in queue.waiting if queue else ():
            done(False)
