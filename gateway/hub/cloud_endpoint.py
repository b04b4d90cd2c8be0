"""How messages go up: each client's in order, ten at a time, and several clients at once.

Rules: a batch has the messages of one client, at most ten of them and no more than IoT Hub takes at once. Up to ten
clients send at the same time: their batches are one wave, which the line carries together. The next clients begin when
all of these are done. After a batch that failed nothing further of its client is sent, so that its order holds, while
the others go on.
Source: CloudEndpoint.cs of Azure/iotedge (`ProcessByClients`, `ProcessClientMessages`, `GetBatchSize`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from gateway.hub.messages import Message, size_of
from gateway.hub.outbox import Send
from gateway.hub.routing.source import HUB_MODULE, SENDER_DEVICE, SENDER_MODULE

LARGEST_BATCH = 262_144  # bytes: IoT Hub's largest message, which a batch is to it

Done = Callable[[Sequence[Message]], None]
_Client = tuple[str, str | None]


class CloudEndpoint:
    """Splits what an outbox sends into what the line carries at once."""

    def __init__(self, send: Send, *, batch_size: int, fan_out: int) -> None:
        self._send = send
        self._batch_size = batch_size
        self._fan_out = fan_out

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Send; `done` gets those that have to be sent again, in their order."""
        if HUB_MODULE in [message.module_id for message in messages]:
            messages = [_outward(message) for message in messages]
        if len(messages) <= min(self._batch_size, self._fan_out) and sum(map(size_of, messages)) <= LARGEST_BATCH:
            self._send(messages, done)  # however many clients they are from
            return
        clients: dict[_Client, list[Message]] = {}
        for message in messages:
            clients.setdefault((message.device_id, message.module_id), []).append(message)
        batches = [self._batches(of_one) for of_one in clients.values()]
        groups = [batches[start : start + self._fan_out] for start in range(0, len(batches), self._fan_out)]
        _Round(groups, self._send, done).go_on()

    def _batches(self, messages: list[Message]) -> list[list[Message]]:
        """The batches of one client's messages, the last one first."""
        size = min(len(messages), self._batch_size)
        if size > 1:
            size = max(1, min(size, LARGEST_BATCH // max(1, *map(size_of, messages))))
        return [messages[start : start + size] for start in range(0, len(messages), size)][::-1]


class _Round:
    """What an outbox has handed in at once, by groups of clients; whose batches are what is left of them."""

    def __init__(self, groups: list[list[list[list[Message]]]], send: Send, done: Done) -> None:
        self._groups = groups[::-1]
        self._send = send
        self._done = done
        self._failed: list[Message] = []
        self._under_way = self._at_once = False

    def go_on(self) -> None:
        """Send wave after wave, until nothing is left."""
        while self._groups:
            clients = self._groups[-1] = [batches for batches in self._groups[-1] if batches]
            if not clients:
                self._groups.pop()
                continue
            self._at_once = self._under_way = True
            self._send(sorted(message for batches in clients for message in batches.pop()), self._heard)
            self._at_once = False
            if self._under_way:
                return
        self._done(sorted(self._failed))

    def _heard(self, failed: Sequence[Message]) -> None:
        """Keep what failed, and with it all that is left of the same clients."""
        self._under_way = False
        self._failed += failed
        senders = {(message.device_id, message.module_id) for message in failed}
        for batches in self._groups[-1] if senders else ():
            if batches and (batches[0][0].device_id, batches[0][0].module_id) in senders:
                self._failed += [message for batch in batches for message in batch]
                batches.clear()
        if not self._at_once:
            self.go_on()


def _outward(message: Message) -> Message:
    """Take out what only routes and modules see: IoT Hub is not told whose twin has changed."""
    if message.module_id != HUB_MODULE:
        return message
    known = json.loads(message.system_properties)
    inward = (SENDER_DEVICE, SENDER_MODULE, "message-type")
    system = {name: value for name, value in known.items() if name not in inward}
    return message._replace(system_properties=json.dumps(system, separators=(",", ":"), ensure_ascii=False))
