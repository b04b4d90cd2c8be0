"""The line from this gateway to IoT Hub, and what can be wrong with it.

Rule: a batch is either delivered or told back, at the moment the line's state says, by the hub's clock; no message is
ever lost here. States are switched while the gateway runs.
Sources: CloudEndpoint.cs of Azure/iotedge (30 s for a send, `trackDeviceState`); IoT Hub documentation, "Quotas and
throttling" and "Understand IoT Hub error codes" (429001, 403002, 401003).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.hub.messages import Message
from gateway.upstream.inbox import Inbox

SEND_TIMEOUT = 30.0

Done = Callable[[Sequence[Message]], None]


class LinkState(StrEnum):
    """How the line is."""

    UP = "up"
    REFUSED = "refused"  # connections are refused
    BLACK_HOLE = "black-hole"  # nothing comes back, until the time for a send is up
    DNS = "dns-gone"  # IoT Hub's name does not resolve
    SLOW = "slow"  # each batch takes `latency` seconds
    THROTTLED = "throttled"  # IoT Hub answers 429 to telemetry
    QUOTA = "quota-exceeded"  # the day's quota of messages is used up


_UNREACHABLE = frozenset({LinkState.REFUSED, LinkState.BLACK_HOLE, LinkState.DNS})


@dataclass
class _UnderWay:
    """One batch that has been given to the line."""

    due: float
    messages: Sequence[Message]
    done: Done
    arrives: bool


class Link:
    """Carries batches to the inbox; `unauthorized` names devices whose messages IoT Hub refuses.

    With `track_device_state`, as Edge Hub has had it since 1.1.1, such messages are dropped; without they hold up
    everything behind them.
    """

    def __init__(
        self, inbox: Inbox, now: Callable[[], float], log: logging.Logger, *, track_device_state: bool = True
    ) -> None:
        self.latency = 1.0
        self.unauthorized: set[str] = set()
        self.refused = 0  # batches that were told back
        self._inbox = inbox
        self._now = now
        self._log = log
        self._track = track_device_state
        self._state = LinkState.UP
        self._changed: Callable[[bool, bool], None] | None = None
        self._under_way: list[_UnderWay] = []

    @property
    def state(self) -> LinkState:
        """How the line is now."""
        return self._state

    @property
    def reachable(self) -> bool:
        """Whether IoT Hub can be reached at all."""
        return self._state not in _UNREACHABLE

    def attach(self, changed: Callable[[bool, bool], None] | None) -> None:
        """Call `changed(was_reachable, is_reachable)` after each switch; None ends that."""
        self._changed = changed

    def switch(self, state: LinkState | str, *, latency: float | None = None) -> None:
        """Change the line's state; what is under way fails when the line is cut. ValueError for an unknown state."""
        was, self._state = self.reachable, LinkState(state)
        if latency is not None:
            self.latency = latency
        if self._state is not LinkState.BLACK_HOLE:
            self._settle(lambda _: True, arrives=self.reachable)
        if self._changed is not None:
            self._changed(was, self.reachable)

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Carry a batch; `done` gets those that have to be sent again."""
        match self._state:
            case LinkState.UP:
                self._deliver(messages, done)
            case LinkState.SLOW:
                self._under_way.append(_UnderWay(self._now() + self.latency, messages, done, arrives=True))
            case LinkState.BLACK_HOLE:
                self._under_way.append(_UnderWay(self._now() + SEND_TIMEOUT, messages, done, arrives=False))
            case _:
                self.refused += 1
                done(messages)

    def tick(self) -> None:
        """Let time take effect on what is under way."""
        now = self._now()
        self._settle(lambda batch: batch.due <= now)

    def _settle(self, over: Callable[[_UnderWay], bool], *, arrives: bool | None = None) -> None:
        settled = [batch for batch in self._under_way if over(batch)]
        self._under_way = [batch for batch in self._under_way if not over(batch)]
        for batch in settled:
            if batch.arrives and arrives is not False:
                self._deliver(batch.messages, batch.done)
            else:
                self.refused += 1
                batch.done(batch.messages)

    def _deliver(self, messages: Sequence[Message], done: Done) -> None:
        if not self.unauthorized:
            self._inbox.receive(messages, done)
            return
        good = [one for one in messages if one.device_id not in self.unauthorized]
        bad = [one for one in messages if one.device_id in self.unauthorized]
        if bad and self._track:
            names = ", ".join(sorted({one.device_id for one in bad}))
            self._log.warning("Dropping %d messages of %s: IoT Hub does not accept the device", len(bad), names)
            bad = []
        self._inbox.receive(good, lambda failed: done(sorted([*failed, *bad]) if bad else failed))
