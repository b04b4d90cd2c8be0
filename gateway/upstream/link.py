"""The line from this gateway to IoT Hub, and what can be wrong with it.

Rule: everything that goes to IoT Hub goes through here, and whoever asks is answered exactly once, at the moment the
line's state says; no message is ever lost here. States are switched while the gateway runs: what is under way then
comes out as the new state says. Leaves notice nothing of a switch.
Sources: CloudEndpoint.cs, ConnectivityAwareClient.cs and CloudConnectionProvider.cs of Azure/iotedge; IoT Hub
documentation, "Quotas and throttling" and "Understand IoT Hub error codes" (429001, 403002, 401003).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gateway.hub.cloud import Failure
from gateway.hub.messages import Message
from gateway.upstream.inbox import Inbox

_MOST_UNDER_WAY = 10_000  # questions: strangers may make up names while the line is silent
DEFAULT_LATENCY = 1.0

Done = Callable[[Sequence[Message]], None]


class LinkState(StrEnum):
    """How the line is."""

    UP = "up"
    REFUSED = "refused"  # connections are refused
    BLACK_HOLE = "black-hole"  # nothing comes back, until the time for an operation is up
    DNS = "dns-gone"  # IoT Hub's name does not resolve
    SLOW = "slow"  # each operation takes `latency` seconds
    THROTTLED = "throttled"  # IoT Hub answers 429
    QUOTA = "quota-exceeded"  # the day's quota of messages is used up: IoT Hub answers 403 to everything


_NO_CONNECTION = frozenset({LinkState.REFUSED, LinkState.DNS})
_REFUSALS = {LinkState.THROTTLED: Failure.THROTTLED, LinkState.QUOTA: Failure.QUOTA}


class Patience(NamedTuple):
    """After how many seconds whoever asks knows that there is no connection, and gives up when nothing comes back.

    `checks` is whether the outcome says something about connectivity, `throttles` whether IoT Hub throttles such an
    operation.
    """

    refused: float
    silent: float
    checks: bool = True
    throttles: bool = True


#: a batch of telemetry: the endpoint waits 30 s for the connection's answer
SEND = Patience(0.0, 30.0)
#: The device scope is asked over HTTPS: three attempts, 1 s and about 5 s apart (NestedDeviceScopeApiClient.cs), of
#: 100 s each at most (HttpClient.Timeout of .NET).
SCOPE = Patience(6.0, 306.0, checks=False)


@dataclass(slots=True)
class _UnderWay:
    """One operation that has been given to the line; `lost` says that it cannot arrive any more."""

    since: float
    who: str | None
    patience: Patience
    act: Callable[[], None]
    fail: Callable[[Failure], None]
    once: bool = False  # not sent again by the connection itself
    lost: bool = False


class Link:
    """Carries operations to IoT Hub; `unauthorized` names devices whose operations IoT Hub refuses (401).

    With `track_device_state`, as Edge Hub has had it since 1.1.1, messages of such a device are dropped; without they
    hold up everything behind them. `now` has to go on as timers do.
    """

    def __init__(
        self, inbox: Inbox, now: Callable[[], float], log: logging.Logger, *, track_device_state: bool = True
    ) -> None:
        self.latency = DEFAULT_LATENCY
        self.unauthorized: set[str] = set()
        self.refused = 0  # batches that were told back
        self._inbox = inbox
        self._now = now
        self._log = log
        self._track = track_device_state
        self._state = LinkState.UP
        self._told: Callable[[bool], None] = _nobody
        self._discarded: Callable[[Sequence[Message]], None] = _nobody
        self._under_way: list[_UnderWay] = []

    @property
    def state(self) -> LinkState:
        """How the line is now."""
        return self._state

    @property
    def reachable(self) -> bool:
        """Whether IoT Hub can be reached at all."""
        return self._state not in _NO_CONNECTION and self._state is not LinkState.BLACK_HOLE

    def admits(self, client_id: str) -> bool:
        """Whether IoT Hub has a connection for this device or module, and sends something over it."""
        return self.reachable and self._state is not LinkState.QUOTA and not self._is_unauthorized(client_id)

    def watch(
        self, told: Callable[[bool], None] | None, discarded: Callable[[Sequence[Message]], None] | None = None
    ) -> None:
        """Tell `told` after each operation whether IoT Hub was reached; None ends that, and what is under way.

        `discarded` hears of messages that IoT Hub will never take, before they are told as delivered.
        """
        self._told = told or _nobody
        self._discarded = discarded or _nobody
        if told is None:
            self._under_way.clear()

    def switch(self, state: LinkState | str, *, latency: float | None = None, noticed: bool = False) -> None:
        """Change the line's state. ValueError for a state that does not exist; then nothing changes.

        Edge Hub finds out by itself, when an operation or its next probe comes out otherwise, unless it is `noticed`
        at once.
        """
        self._state = LinkState(state)
        if latency is not None:
            self.latency = latency
        self._log.info("The link to IoT Hub is switched to: %s", self.describe())
        if self._state is LinkState.BLACK_HOLE:
            for one in self._under_way:
                one.lost = one.once
        self.tick()
        if noticed:
            self.notice()

    def notice(self) -> None:
        """Let Edge Hub know how the line is, as operations would have told it by now."""
        self._told(self.reachable)
        if not self.reachable:
            self._told(False)

    def describe(self) -> str:
        """The state as one would write it."""
        refused = f", unauthorized: {', '.join(sorted(self.unauthorized))}" if self.unauthorized else ""
        slow = f" ({self.latency:g} s)" if self._state is LinkState.SLOW else ""
        return f"{self._state}{slow}{refused}"

    # -- operations ---------------------------------------------------------------------------------------------------

    def ask(
        self, who: str | None, act: Callable[[], None], fail: Callable[[Failure], None], patience: Patience
    ) -> None:
        """Do `act` at IoT Hub on behalf of the client `who` (None: the gateway itself), or say why that failed."""
        one = _UnderWay(self._now(), who, patience, act, fail)
        if not self._settle(one):
            if len(self._under_way) < _MOST_UNDER_WAY:
                self._under_way.append(one)
            else:
                fail(Failure.UNREACHABLE)

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Carry a batch; `done` gets those that have to be sent again."""
        if self._state is LinkState.UP:
            self._told(True)
            self._deliver(messages, done)
            return
        one = _UnderWay(
            self._now(),
            None,
            SEND,
            lambda: self._deliver(messages, done),
            lambda failure: self._give_back(messages, done, failure),
            once=True,
            lost=self._state is LinkState.BLACK_HOLE,
        )
        if not self._settle(one):
            self._under_way.append(one)

    def tick(self) -> None:
        """Let time take effect on what is under way."""
        if self._under_way:
            under_way, self._under_way = self._under_way, []
            left = [one for one in under_way if not self._settle(one)]
            self._under_way = left + self._under_way

    def _settle(self, one: _UnderWay) -> bool:
        """End an operation if its time has come; whether it has."""
        wait, failure = self._outcome(one)
        if self._now() - one.since < wait:
            return False
        if one.patience.checks and (failure is None or failure in _SILENCES):
            self._told(failure is None)
        if failure is None:
            one.act()
        else:
            one.fail(failure)
        return True

    def _outcome(self, one: _UnderWay) -> tuple[float, Failure | None]:
        """After how many seconds an operation ends as the line is now, and how."""
        if self._state is LinkState.BLACK_HOLE:
            return one.patience.silent, Failure.TIMED_OUT
        if one.lost:
            return 0.0, Failure.TIMED_OUT
        if self._state in _NO_CONNECTION:
            return one.patience.refused, Failure.UNREACHABLE
        wait = self.latency if self._state is LinkState.SLOW else 0.0
        if wait > one.patience.silent:
            return one.patience.silent, Failure.TIMED_OUT
        if one.who is not None and self._is_unauthorized(one.who):
            return wait, Failure.UNAUTHORIZED
        if self._state is LinkState.THROTTLED and not one.patience.throttles:
            return wait, None
        return wait, _REFUSALS.get(self._state)

    def _is_unauthorized(self, client_id: str) -> bool:
        return bool(self.unauthorized) and client_id.partition("/")[0] in self.unauthorized

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def _give_back(self, messages: Sequence[Message], done: Done, failure: Failure) -> None:
        self.refused += 1
        for name in _senders(messages):
            if failure in _SILENCES:
                self._log.warning("Could not get an active Iot Hub connection for client %s", name)
            else:
                text = "Retrying sending message from %s to Iot Hub due to exception %s."
                self._log.debug(text, name, failure)
        done(messages)

    def _deliver(self, messages: Sequence[Message], done: Done) -> None:
        if not self.unauthorized:
            self._inbox.receive(messages, done)
            return
        good = [one for one in messages if one.device_id not in self.unauthorized]
        bad = [one for one in messages if one.device_id in self.unauthorized]
        for name in _senders(bad):
            if self._track:
                self._log.warning("Non retryable exception occurred while sending message for client %s.", name)
            else:
                self._log.warning("Could not get an active Iot Hub connection for client %s", name)
        if bad and self._track:
            self._discarded(bad)
            bad = []
        self._inbox.receive(good, lambda failed: done(sorted([*failed, *bad]) if bad else failed))


_SILENCES = frozenset({Failure.UNREACHABLE, Failure.TIMED_OUT})


def _senders(messages: Iterable[Message]) -> list[str]:
    """The client ids that a batch comes from."""
    return list(dict.fromkeys(_name(one) for one in messages))


def _name(message: Message) -> str:
    return message.device_id if message.module_id is None else f"{message.device_id}/{message.module_id}"


def _nobody(_: object) -> None:
    """Nobody watches."""
