"""Whether the Edge Hub believes that it can reach the cloud, and how it finds out.

Rule: this learns from operations that others make, and makes one itself only when nobody else has: every
`connectivity_check_frequency` seconds while connected, every 120 seconds while disconnected. One operation that is not
answered makes it unsure, which it settles with a probe; a second one makes it disconnected. So it may take that long
until an outage, or its end, is noticed, and an outage during which nobody asks for anything is never noticed.
Source: DeviceConnectivityManager.cs of Azure/iotedge (states, triggers, timers and log lines).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto

DISCONNECTED_CHECK_FREQUENCY = 120.0


class State(Enum):
    """What the Edge Hub believes."""

    CONNECTED = auto()
    TRYING = auto()
    DISCONNECTED = auto()


class Connectivity:
    """Believes that the cloud is away until an operation succeeds; `probe` makes one, whose outcome is told here.

    `now` is a clock that goes on as timers do. `changed` is told the new state each time it is another.
    """

    def __init__(
        self, probe: Callable[[], None], frequency: float, now: Callable[[], float], log: logging.Logger
    ) -> None:
        self.state = State.DISCONNECTED
        self.offline_count = 0  # how often it has been disconnected after it was connected
        self.offline_durations: list[float] = []  # in seconds; whoever counts them takes them out
        self._probe = probe
        self._frequency = frequency
        self._now = now
        self._log = log
        self._due = now() + frequency
        self._since = now()
        self._connected: Callable[[], None] = lambda: None
        text = "Created DeviceConnectivityManager with connected check frequency %s and disconnected check frequency %s"
        log.info(text, _span(frequency), _span(DISCONNECTED_CHECK_FREQUENCY))

    def observe(self, connected: Callable[[], None]) -> None:
        """Call `connected` each time the cloud can be reached again, from now on."""
        self._connected = connected

    def told(self, reached: bool) -> None:
        """An operation was answered, or was not."""
        if reached:
            self._succeeded()
        else:
            self._failed()

    def tick(self) -> None:
        """Let time take effect: probe when it is due."""
        if self.state is not State.TRYING and self._now() >= self._due:
            self._due = self._now() + self._period
            self._probe()

    @property
    def _period(self) -> float:
        return self._frequency if self.state is State.CONNECTED else DISCONNECTED_CHECK_FREQUENCY

    def _succeeded(self) -> None:
        self._due = self._now() + self._frequency
        if self.state is State.CONNECTED:  # as nearly always, once per batch of telemetry
            return
        before, self.state = self.state, State.CONNECTED
        if before is State.DISCONNECTED:
            self._log.info("Exiting disconnected state")
            self.offline_durations.append(self._now() - self._since)
        self._log.info("Entering connected state")
        if before is State.DISCONNECTED:
            self._connected()

    def _failed(self) -> None:
        if self.state is State.CONNECTED:
            self._log.info("Exiting connected state")
            self._log.info("Entering unreachable state")
            self.state = State.TRYING
            self._probe()
        elif self.state is State.TRYING:
            self._log.info("Entering disconnected state")
            self.state = State.DISCONNECTED
            self.offline_count += 1
            self._since = self._now()
            self._due = self._now() + DISCONNECTED_CHECK_FREQUENCY
        else:
            self._due = self._now() + DISCONNECTED_CHECK_FREQUENCY


def _span(seconds: float) -> str:
    """As .NET writes a TimeSpan of whole seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"
