"""Cloud-to-device messages as IoT Hub keeps them.

Rule: a message is Enqueued, or Invisible while it is locked, until it is Completed or Dead-lettered; only its lock
token settles it. Giving it back counts, losing the lock by time does not. A message whose time is over is delivered no
more, but one that is locked by then can still be completed. Locks end with the process: what was locked is in its
queue again after a restart.
Sources: IoT Hub documentation, "Understand cloud-to-device messaging from an IoT hub", and the error codes in "Azure
IoT Hub errors" (403004, 412002).
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from gateway.clock import Clock
from gateway.errors import CommandRefusedError, StoreError
from gateway.observers import Observers
from gateway.upstream.command import Ack, Command, CommandLimits, accept
from gateway.upstream.feedback import Feedback, FeedbackRecord, Status
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper, encode

Observer = Callable[[str], None]

#: the kind under which messages are kept, by their numbers
COMMAND = "command"
_SPARE_TIMERS = 1_000  # stale entries that are not worth a sweep


@dataclass(slots=True)
class _Entry:
    """A message that has not ended; `number` grows in the order of sending."""

    number: int
    command: Command
    abandoned: int = 0
    lock_token: str = ""
    locked_until: float = 0.0

    def document(self, abandoned: int) -> Change:
        """What is kept of it once it has been given back that often."""
        return COMMAND, str(self.number), encode(self.command.to_json() | {"count": abandoned})

    @property
    def removal(self) -> Change:
        """What ends it."""
        return COMMAND, str(self.number), None


# A device's messages by number, so in the order of sending; there are few.
_Queue = dict[int, _Entry]


class CommandQueues:
    """The queues of all devices, each made when it is needed."""

    def __init__(self, clock: Clock, limits: CommandLimits | None = None, keeper: Keeper | None = None) -> None:
        self._now = clock.now
        self._keeper = keeper or ForgetfulKeeper()
        self._limits = limits = limits or CommandLimits()
        self.feedback = Feedback(
            batch_size=limits.feedback_batch,
            batch_seconds=limits.feedback_seconds,
            ttl=limits.feedback_ttl,
            most_batches=limits.most_feedback_batches,
            keeper=self._keeper,
        )
        self._queues: dict[str, _Queue] = {}
        self._locked: dict[str, _Entry] = {}
        self._timers: list[tuple[float, int, str]] = []  # when, which message, of which device
        self._living = 0
        self._next_number = 1
        self._observers = Observers[[str]]("cloud-to-device messages")

    def load(self) -> None:
        """Read anew what is kept, nothing of it locked. Raises StoreError."""
        try:
            entries = [
                _Entry(int(number), command, command.delivery_count)
                for number, kept in self._keeper.load(COMMAND).items()
                for command in [Command.from_json(kept)]
            ]
        except (KeyError, TypeError, ValueError) as wrong:
            hint = "move hub.db out of the --state folder to start without it; it was not changed"
            lost = f"a cloud-to-device message that is kept cannot be read: {type(wrong).__name__}"
            raise StoreError(lost, hint) from None
        self.feedback.load()
        self._queues, self._locked, self._timers = {}, {}, []
        self._living = len(entries)
        self._next_number = max((entry.number for entry in entries), default=0) + 1
        for entry in entries:
            self._queues.setdefault(entry.command.device_id, {})[entry.number] = entry
            self._set_timer(entry.command.expires, entry)

    # -- the back end's side ---------------------------------------------------------------------------------------

    def send(
        self,
        device_id: str,
        body: bytes,
        properties: Mapping[str, str] | None = None,
        system_properties: Mapping[str, str] | None = None,
        *,
        ttl: float | None = None,
        ack: Ack | None = None,
    ) -> Command:
        """Queue a message for a device; raises CommandRefusedError with IoT Hub's status and code, and StoreError.

        `system_properties` go by their service names: message-id, correlation-id, user-id, to, content-type,
        content-encoding, absolute-expiry-time (or expiry-time-utc), iothub-ack, iothub-creation-time-utc. `ttl`
        (seconds) and `ack` say the same as the properties and win over them.
        """
        now = self._now()
        command = accept(
            device_id, body, properties or {}, system_properties or {}, ttl=ttl, ack=ack, now=now, limits=self._limits
        )
        most = self._limits.queue_depth
        if self.depth(device_id) >= most:
            self._make_room(device_id, now)
        if self.depth(device_id) >= most:
            hint = "wait until the device has taken some, or purge its queue"
            raise CommandRefusedError(403, 403_004, f"Device Queue depth cannot exceed {most} messages", hint)
        entry = _Entry(self._next_number, command)
        self._keeper.write([entry.document(0)])
        self._next_number += 1
        self._living += 1
        self._queues.setdefault(device_id, {})[entry.number] = entry
        self._set_timer(command.expires, entry)
        self._observers.tell(device_id)
        return command

    def purge(self, device_id: str) -> int:
        """Drop what waits for a device, not what it has locked; returns how many messages that were."""
        waiting = [entry for entry in self._entries(device_id) if not entry.lock_token]
        for entry in waiting:
            self._end(entry, "Purged")
        return len(waiting)

    def remove(self, device_id: str) -> None:
        """Forget a device that is deleted, with its messages and the feedback that is pending. Raises StoreError."""
        self._keeper.write(self.removal(device_id))
        self.forget(device_id)

    def removal(self, device_id: str) -> list[Change]:
        """What `remove` makes of what is kept; `forget` is for when that has been done."""
        return [*(entry.removal for entry in self._entries(device_id)), *self.feedback.removal(device_id)]

    def forget(self, device_id: str) -> None:
        """Forget a device of which nothing is kept any more."""
        for entry in self._entries(device_id):
            self._unlock(entry)
            self._drop(entry)
        self.feedback.forget(device_id)

    def depth(self, device_id: str) -> int:
        """How many messages a device has, locked ones included."""
        return len(self._queues.get(device_id, ()))

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with a device's id whenever a message has become receivable; the answer ends that."""
        return self._observers.subscribe(observer)

    # -- the device's side -----------------------------------------------------------------------------------------

    def receive(self, device_id: str) -> Command | None:
        """The oldest message that waits, locked; None when none does."""
        now = self._now()
        for entry in self._entries(device_id):
            if entry.lock_token:
                continue
            if entry.command.expires <= now:
                self._end(entry, "Expired")
                continue
            entry.lock_token = str(uuid.uuid4())
            entry.locked_until = now + self._limits.lock_seconds
            self._locked[entry.lock_token] = entry
            self._set_timer(entry.locked_until, entry)
            return entry.command.delivered(entry.lock_token, entry.abandoned)
        return None

    def complete(self, lock_token: str) -> None:
        """The device has the message. Raises CommandRefusedError (412) when the token locks nothing any more."""
        self._end(self._settle(lock_token), "Success")

    def reject(self, lock_token: str) -> None:
        """The message is dead. Raises CommandRefusedError (412) when the token locks nothing any more."""
        self._end(self._settle(lock_token), "Rejected")

    def abandon(self, lock_token: str) -> None:
        """Put the message back to its place in the queue, unless that has happened too often.

        Raises CommandRefusedError (412) when the token locks nothing any more.
        """
        entry = self._settle(lock_token)
        if entry.abandoned + 1 >= self._limits.most_deliveries:
            self._end(entry, "DeliveryCountExceeded")
            return
        self._keeper.write([entry.document(entry.abandoned + 1)])
        entry.abandoned += 1
        self._unlock(entry)
        self._give_back(entry, self._now())

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let messages expire, locks run out and feedback be sent, as far as the clock says. Raises StoreError."""
        now = self._now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)
            _, number, device_id = timer
            try:
                self._check(self._queues.get(device_id, {}).get(number), now)
            except StoreError:  # the disk is full, say: it is due until it is done
                heapq.heappush(self._timers, timer)
                raise
        self.feedback.tick(now)

    def _check(self, entry: _Entry | None, now: float) -> None:
        """Let time take effect on a message, unless it has ended."""
        if entry is None:
            return
        if not entry.lock_token:
            if entry.command.expires <= now:
                self._end(entry, "Expired")
        elif entry.locked_until <= now:
            self._unlock(entry)
            self._give_back(entry, now)

    def _make_room(self, device_id: str, now: float) -> None:
        for number in tuple(self._queues.get(device_id, ())):
            self._check(self._queues.get(device_id, {}).get(number), now)

    def _set_timer(self, when: float, entry: _Entry) -> None:
        heapq.heappush(self._timers, (when, entry.number, entry.command.device_id))
        if len(self._timers) > 4 * self._living + _SPARE_TIMERS:
            self._timers = [timer for timer in self._timers if self._lives(timer)]
            heapq.heapify(self._timers)

    def _lives(self, timer: tuple[float, int, str]) -> bool:
        when, number, device_id = timer
        entry = self._queues.get(device_id, {}).get(number)
        return entry is not None and when in (entry.command.expires, entry.locked_until)

    # -- changes of state ------------------------------------------------------------------------------------------

    def _settle(self, lock_token: str) -> _Entry:
        """The message of a token that is good."""
        entry = self._locked.get(lock_token)
        if entry is None:
            _lock_lost()
        if entry.locked_until <= self._now():
            self._unlock(entry)
            self._give_back(entry, self._now())
            _lock_lost()
        return entry

    def _entries(self, device_id: str) -> tuple[_Entry, ...]:
        return tuple(self._queues.get(device_id, {}).values())

    def _unlock(self, entry: _Entry) -> None:
        self._locked.pop(entry.lock_token, None)
        entry.lock_token = ""

    def _give_back(self, entry: _Entry, now: float) -> None:
        if entry.command.expires <= now:
            self._end(entry, "Expired")
        else:
            self._observers.tell(entry.command.device_id)

    def _end(self, entry: _Entry, status: Status) -> None:
        command = entry.command
        if command.ack in ("full", "positive" if status == "Success" else "negative"):
            record = FeedbackRecord(command.message_id, command.device_id, status, self._now())
            self.feedback.add(record, along=[entry.removal])
        else:
            self._keeper.write([entry.removal])
        self._unlock(entry)
        self._drop(entry)

    def _drop(self, entry: _Entry) -> None:
        device_id = entry.command.device_id
        queue = self._queues[device_id]
        del queue[entry.number]
        self._living -= 1
        if not queue:
            del self._queues[device_id]


def _lock_lost() -> NoReturn:
    hint = "the message was settled already, was purged with its device, or its lock has run out"
    raise CommandRefusedError(412, 412_002, "the lock token locks no message", hint)
