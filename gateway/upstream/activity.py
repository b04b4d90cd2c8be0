"""When clients came, went and were last heard of, as the registry shows it.

Rule: nothing is written while a message passes. What is kept is a minute behind at most, and whole after a stop; for
these times IoT Hub does not promise more either.
Source: IoT Hub documentation, "Understand the identity registry" (connectionStateUpdatedTime, lastActivityTime).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.errors import StoreError
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper, encode

#: the kind under which the times are kept; the key is the client id and a blank
ACTIVITY = "activity"
_FLUSH_SECONDS = 60.0
_MOST_AT_ONCE = 1_000  # written in one turn of the event loop


@dataclass(slots=True)
class Times:
    """Seconds since 1970 UTC; 0 is never."""

    state_changed: float = 0.0
    last_active: float = 0.0


def _times(kept: list[float]) -> Times:
    return Times(float(kept[0]), float(kept[1]))


class Activity:
    """The times of every device and module, by client id."""

    def __init__(self, now: Callable[[], float], keeper: Keeper | None = None) -> None:
        self._now = now
        self._keeper = keeper or ForgetfulKeeper()
        self._times: dict[str, Times] = {}
        self._connections: Counter[str] = Counter()
        self._unwritten: dict[str, None] = {}
        self._flushed = now()

    def times(self, client_id: str) -> Times:
        """When a client came or went last, and was last active. Raises StoreError."""
        found = self._times.get(client_id)
        if found is None:
            kept = self._keeper.load(ACTIVITY, f"{client_id} ").values()
            found = self._times[client_id] = next(map(_times, kept), Times())
        return found

    def connection_changed(self, client_id: str, connected: bool) -> None:
        """A client has connected, or a connection of it is over; one that takes over from another changes no state."""
        self._connections[client_id] += 1 if connected else -1
        count = self._connections[client_id]
        if count <= 0:
            del self._connections[client_id]
        if count == (1 if connected else 0):
            self._note(client_id, self._now(), changed=True)

    def seen(self, client_ids: Iterable[str]) -> None:
        """These clients have sent or received something."""
        now = self._now()
        for client_id in client_ids:
            self._note(client_id, now, changed=False)

    def _note(self, client_id: str, now: float, *, changed: bool) -> None:
        try:
            times = self.times(client_id)
        except StoreError:  # whoever asks for the times is told so; who sends messages is not kept from it
            return
        times.last_active = now
        if changed:
            times.state_changed = now
        self._unwritten[client_id] = None

    def removal(self, client_id: str) -> list[Change]:
        """What forgets the times that are kept; `forget` is for when that has been done."""
        return [(ACTIVITY, f"{client_id} ", None)]

    def forget(self, client_id: str) -> None:
        """A device or module is deleted."""
        self._times.pop(client_id, None)
        self._unwritten.pop(client_id, None)

    def reload(self) -> None:
        """Others may have made changes: read what is kept anew."""
        self._times.clear()
        self._unwritten.clear()

    def tick(self) -> None:
        """Write what has been waiting for a minute, some of it at a time. Raises StoreError."""
        if self._unwritten and self._now() - self._flushed >= _FLUSH_SECONDS:
            self._write(list(islice(self._unwritten, _MOST_AT_ONCE)))
            if not self._unwritten:
                self._flushed = self._now()

    def flush(self) -> None:
        """Write everything. Raises StoreError."""
        self._write(list(self._unwritten))

    def _write(self, client_ids: Sequence[str]) -> None:
        changes: list[Change] = []
        for client_id in client_ids:
            times = self._times[client_id]
            changes.append((ACTIVITY, f"{client_id} ", encode([times.state_changed, times.last_active])))
        self._keeper.write(changes)
        for client_id in client_ids:
            self._unwritten.pop(client_id, None)
