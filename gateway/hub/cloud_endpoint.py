"""How messages go up: each client's in order, ten at a time, and several clients at once.

Rules: a batch has the messages of one client, at most ten of them and no more than IoT Hub takes at once. Up to ten
clients send at the same time: their batches are one wave, which the line carries together. The next clients begin when
all of these are done. After a batch that failed nothing further of its client is sent, so that its order holds, while
the others go on.
Source: CloudEndpoint.cs of Azure/iotedge (`ProcessByClients`, `ProcessClientMessages`, `GetBatchSize`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from gateway.hub.messages import Message, size_of
from gateway.hub.outbox import Send
from gateway.hub.routing.source import HUB_MODULE, SENDER_DEVICE, SENDER_MODULE

LARGEST_BATCH = 262_144  # bytes: IoT Hub's largest message, which a batch is to it

Done = Callable[[Sequence[Message]], None]
_Client = tuple[str, str | None]


class CloudEndpoint:
    """Splits what an outbox sends into what the line carries at once.

    While `instant` says that the line carries anything in no time, nobody could tell waves apart: there are none then.
    """

    def __init__(
        self, send: Send, *, batch_size: int, fan_out: int, instant: Callable[[], bool] = lambda: False
    ) -> None:
        self._send = send
        self._instant = instant
        self._batch_size = batch_size
        self._fan_out = fan_out
        self._few = min(batch_size, fan_out)

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Send; `done` gets those that have to be sent again, in their order."""
        if HUB_MODULE in [message.module_id for message in messages]:
            messages = [_outward(message) for message in messages]
        if len(messages) == 1 or self._instant():
            self._send(messages, done)
            return
        largest = max([len(one[4]) + len(one[5]) + len(one[6]) for one in messages])  # size_of, without the calls
        small = largest * self._batch_size <= LARGEST_BATCH
        if small and len(messages) <= self._few:
            self._send(messages, done)  # however many clients they are from
        else:
            _Round(self._waves(messages, {} if small else self._limits(messages)), self._send, done).go_on()

    def _limits(self, messages: Sequence[Message]) -> dict[_Client, int]:
        """How many messages a batch of each client has, by its largest one."""
        largest: dict[_Client, int] = {}
        for message in messages:
            client = message[1:3]
            largest[client] = max(largest.get(client, 1), size_of(message))
        return {client: max(1, min(self._batch_size, LARGEST_BATCH // size)) for client, size in largest.items()}

    def _waves(self, messages: Sequence[Message], limits: Mapping[_Client, int]) -> list[list[Message]]:
        """The waves, the last one first: those of the first ten clients, then those of the next."""
        waves: dict[tuple[int, int], list[Message]] = {}
        counts: dict[_Client, list[int]] = {}  # group and number of messages so far
        usual, fan_out = self._batch_size, self._fan_out
        for message in messages:
            client = message[1:3]  # device and module
            place = counts.get(client)
            if place is None:
                place = counts[client] = [len(counts) // fan_out, 0]
            wave = place[0], place[1] // (limits.get(client, usual) if limits else usual)
            place[1] += 1
            if wave in waves:
                waves[wave].append(message)
            else:
                waves[wave] = [message]
        return [waves[wave] for wave in sorted(waves, reverse=True)]


class _Round:
    """What an outbox has handed in at once, wave by wave."""

    def __init__(self, waves: list[list[Message]], send: Send, done: Done) -> None:
        self._waves = waves
        self._send = send
        self._done = done
        self._failed: list[Message] = []
        self._under_way = self._at_once = False

    def go_on(self) -> None:
        """Send wave after wave, until nothing is left."""
        while self._waves:
            self._at_once = self._under_way = True
            self._send(self._waves.pop(), self._heard)
            self._at_once = False
            if self._under_way:
                return
        self._done(sorted(self._failed))

    def _heard(self, failed: Sequence[Message]) -> None:
        """Keep what failed, and with it all that is left of the same clients."""
        self._under_way = False
        if failed:
            self._failed += failed
            senders = {message[1:3] for message in failed}
            self._failed += [one for wave in self._waves for one in wave if one[1:3] in senders]
            left = ([one for one in wave if one[1:3] not in senders] for wave in self._waves)
            self._waves = [wave for wave in left if wave]
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
