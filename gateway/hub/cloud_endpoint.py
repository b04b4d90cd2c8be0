"""How messages go up: client by client, each client's in order, several clients at once.

Rules: a batch has the messages of one client, at most ten of them and no more than IoT Hub takes at once. Up to ten
clients send at the same time; the next ten begin when all of these are done. After a batch that failed nothing further
of its client is sent, so that its order holds, while the others go on.
Source: CloudEndpoint.cs of Azure/iotedge (`ProcessByClients`, `ProcessClientMessages`, `GetBatchSize`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice

from gateway.hub.messages import Message, size_of
from gateway.hub.outbox import Send
from gateway.hub.routing.source import HUB_MODULE, SENDER_DEVICE, SENDER_MODULE

LARGEST_BATCH = 262_144  # bytes: IoT Hub's largest message, which a batch is to it

Done = Callable[[Sequence[Message]], None]


class CloudEndpoint:
    """Splits what an outbox sends into batches for the line."""

    def __init__(self, send: Send, *, batch_size: int, fan_out: int) -> None:
        self._send = send
        self._batch_size = batch_size
        self._fan_out = fan_out

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Send; `done` gets those that have to be sent again, in their order."""
        clients: dict[tuple[str, str | None], list[Message]] = {}
        for message in messages:
            key = message.device_id, message.module_id
            if key in clients:
                clients[key].append(message)
            else:
                clients[key] = [message]
        _Round([_Client(self, of_one) for of_one in clients.values()], self._fan_out, done).go_on()

    def batches(self, messages: list[Message]) -> list[list[Message]]:
        """The batches of one client's messages."""
        size = min(len(messages), self._batch_size)
        if size > 1:
            size = max(1, min(size, LARGEST_BATCH // max(1, *map(size_of, messages))))
        if messages[0].module_id == HUB_MODULE:
            messages = [_outward(message) for message in messages]
        return [messages[start : start + size] for start in range(0, len(messages), size)]

    def carry(self, batch: list[Message], done: Done) -> None:
        """Give one batch to the line."""
        self._send(batch, done)


class _Client:
    """The messages of one client, batch after batch."""

    def __init__(self, endpoint: CloudEndpoint, messages: list[Message]) -> None:
        self.failed: list[Message] = []
        self._endpoint = endpoint
        self._batches = endpoint.batches(messages)
        self._sent = 0
        self._under_way = False

    def go_on(self, finished: Callable[[], None]) -> None:
        """Send what is left."""
        at_once = True

        def done(failed: Sequence[Message]) -> None:
            self._under_way = False
            if failed:
                self.failed = [*failed, *(one for batch in self._batches[self._sent :] for one in batch)]
            if not at_once:
                self.go_on(finished)

        while self._sent < len(self._batches) and not self.failed:
            self._sent += 1
            self._under_way = at_once = True
            self._endpoint.carry(self._batches[self._sent - 1], done)
            at_once = False
            if self._under_way:
                return
        finished()


class _Round:
    """What an outbox has handed in at once."""

    def __init__(self, clients: list[_Client], fan_out: int, done: Done) -> None:
        self._clients = clients
        self._waiting = iter(clients)
        self._fan_out = fan_out
        self._open = 0
        self._starting = False
        self._done = done

    def go_on(self) -> None:
        """Let the next clients begin, until there are none left."""
        self._starting = True
        while not self._open and (group := list(islice(self._waiting, self._fan_out))):
            self._open = len(group)
            for client in group:
                client.go_on(self._finished)
        self._starting = False
        if not self._open:
            failed = [message for client in self._clients for message in client.failed]
            self._done(sorted(failed))

    def _finished(self) -> None:
        self._open -= 1
        if not self._open and not self._starting:
            self.go_on()


def _outward(message: Message) -> Message:
    """Take out what only routes and modules see: IoT Hub is not told whose twin has changed."""
    known = json.loads(message.system_properties)
    inward = (SENDER_DEVICE, SENDER_MODULE, "message-type")
    system = {name: value for name, value in known.items() if name not in inward}
    return message._replace(system_properties=json.dumps(system, separators=(",", ":"), ensure_ascii=False))
