"""Cloud-to-device messages as IoT Hub keeps them, in memory.

Rule: a message is Enqueued, or Invisible while one delivery of it is locked; completing removes it, and rejecting it,
delivering it too often or letting it expire makes it dead. Every end that its sender asked for makes one feedback
record.
Source: IoT Hub documentation, "Send cloud-to-device messages from IoT Hub".
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.clock import Clock
from gateway.errors import CommandRefusedError

MOST_WAITING = 50
MOST_BYTES = 64 * 1_024
MOST_DELIVERIES = 10
LOCK_SECONDS = 60.0
DEFAULT_TTL_SECONDS = 3_600.0
MOST_TTL_SECONDS = 48 * 3_600.0
_FEEDBACK_KEPT = 10_000

Ack = Literal["none", "positive", "negative", "full"]
Status = Literal["Success", "Expired", "DeliveryCountExceeded", "Rejected", "Purged"]
_ACKS = ("none", "positive", "negative", "full")


@dataclass(frozen=True, slots=True)
class Command:
    """One message; `enqueued` and `expires` in seconds since 1970 UTC, `lock_token` empty until it is received."""

    device_id: str
    body: bytes
    properties: Mapping[str, str]
    system_properties: Mapping[str, str]
    ack: Ack
    enqueued: float
    expires: float
    delivery_count: int = 0
    lock_token: str = ""

    @property
    def message_id(self) -> str:
        """The id that its sender gave it, or got for it."""
        return self.system_properties["message-id"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a message whose sender wanted to know."""

    original_message_id: str
    device_id: str
    status: Status
    at: float


@dataclass(slots=True)
class _Queue:
    waiting: deque[Command] = field(default_factory=deque)
    locked: dict[str, tuple[Command, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.locked)


class CommandQueues:
    """The queues of all devices."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.now
        self._queues: dict[str, _Queue] = {}
        self._holders: dict[str, str] = {}  # lock token -> device id
        self._observers: list[Callable[[str], None]] = []
        self.feedback: deque[Feedback] = deque(maxlen=_FEEDBACK_KEPT)

    def send(
        self,
        device_id: str,
        body: bytes,
        properties: Mapping[str, str] | None = None,
        system_properties: Mapping[str, str] | None = None,
        *,
        ttl: float = DEFAULT_TTL_SECONDS,
        ack: Ack = "none",
    ) -> Command:
        """Queue a message for a device; `ttl` in seconds. Raises CommandRefusedError.

        `system_properties` go by their service names ("message-id", "correlation-id", "content-type", ...).
        """
        now = self._now()
        given = {str(name): str(value) for name, value in (system_properties or {}).items()}
        if ack not in _ACKS:
            raise CommandRefusedError(
                400, 400_004, f"{ack!r} is no kind of feedback", f"choose from {', '.join(_ACKS)}"
            )
        if not 0 < ttl <= MOST_TTL_SECONDS:
            raise CommandRefusedError(400, 400_004, f"a message cannot live {ttl:g} seconds", "48 hours at most")
        wanted = {"iothub-ack": ack} if ack != "none" else {}
        address = {"message-id": str(uuid.uuid4()), "to": f"/devices/{device_id}/messages/devicebound"}
        kept = {str(name): str(value) for name, value in (properties or {}).items()}
        command = Command(device_id, bytes(body), kept, address | given | wanted, ack, now, now + ttl)
        self._check_room(command)
        self._queues.setdefault(device_id, _Queue()).waiting.append(command)
        self._tell(device_id)
        return command

    def _check_room(self, command: Command) -> None:
        size = len(command.body) + sum(len(name) + len(value) for name, value in command.properties.items())
        if size > MOST_BYTES:
            raise CommandRefusedError(413, 413_001, f"a message of {size} bytes; {MOST_BYTES} is the most")
        if self.depth(command.device_id) >= MOST_WAITING:
            hint = "wait until the device has taken some, or purge its queue"
            raise CommandRefusedError(
                403, 403_004, f"{command.device_id} has {MOST_WAITING} messages waiting already", hint
            )

    def receive(self, device_id: str) -> Command | None:
        """The next message, locked for a minute; None when none waits."""
        queue = self._queues.get(device_id)
        now = self._now()
        while queue and queue.waiting:
            command = queue.waiting.popleft()
            if command.expires <= now:
                self._end(command, "Expired")
                continue
            locked = replace(command, delivery_count=command.delivery_count + 1, lock_token=str(uuid.uuid4()))
            queue.locked[locked.lock_token] = locked, now + LOCK_SECONDS
            self._holders[locked.lock_token] = device_id
            return locked
        return None

    def complete(self, lock_token: str) -> None:
        """The device has it; nothing happens when the lock was lost."""
        if command := self._unlock(lock_token):
            self._end(command, "Success")

    def reject(self, lock_token: str) -> None:
        """The device does not want it; nothing happens when the lock was lost."""
        if command := self._unlock(lock_token):
            self._end(command, "Rejected")

    def abandon(self, lock_token: str) -> None:
        """The delivery failed: back to the front of the queue, unless it has been tried too often."""
        if command := self._unlock(lock_token):
            self._give_back(command)

    def purge(self, device_id: str) -> int:
        """Drop everything that waits for a device; returns how many that were."""
        queue = self._queues.get(device_id)
        if queue is None:
            return 0
        purged = list(queue.waiting)
        queue.waiting.clear()
        for command in purged:
            self._end(command, "Purged")
        return len(purged)

    def depth(self, device_id: str) -> int:
        """How many messages a device has, locked ones included."""
        queue = self._queues.get(device_id)
        return len(queue) if queue else 0

    def subscribe(self, observer: Callable[[str], None]) -> Callable[[], None]:
        """Call `observer` with a device's id when it has a message to receive."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def tick(self) -> None:
        """Let messages expire and locks run out."""
        now = self._now()
        for device_id, queue in tuple(self._queues.items()):
            for command in [command for command in queue.waiting if command.expires <= now]:
                queue.waiting.remove(command)
                self._end(command, "Expired")
            late = [lock_token for lock_token, (_, until) in queue.locked.items() if until <= now]
            for lock_token in reversed(late):  # each goes to the front
                self.abandon(lock_token)
            if not queue:
                self._queues.pop(device_id, None)

    def _unlock(self, lock_token: str) -> Command | None:
        device_id = self._holders.pop(lock_token, None)
        return None if device_id is None else self._queues[device_id].locked.pop(lock_token)[0]

    def _give_back(self, command: Command) -> None:
        if command.delivery_count >= MOST_DELIVERIES:
            self._end(command, "DeliveryCountExceeded")
            return
        self._queues[command.device_id].waiting.appendleft(replace(command, lock_token=""))
        self._tell(command.device_id)

    def _end(self, command: Command, status: Status) -> None:
        wanted = ("positive", "full") if status == "Success" else ("negative", "full")
        if command.ack in wanted:
            self.feedback.append(Feedback(command.message_id, command.device_id, status, self._now()))

    def _tell(self, device_id: str) -> None:
        for observer in tuple(self._observers):
            observer(device_id)
