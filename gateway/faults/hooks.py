"""Faults that clients ask for, as the device SDKs' own tests do: telemetry with AzIoTHub_FaultOperation... properties.

Rule: such a message is no device-to-cloud message: it is acknowledged and goes nowhere. After its delay the fault
lasts for its duration, then everything is as before.
Sources: FaultInjection.cs (Azure/azure-iot-sdk-csharp), ErrorInjectionHelper.java (azure-iot-sdk-java),
iothubclient_common_e2e.c (azure-iot-sdk-c), throttle_disconnect.js and d2c_disconnect.js (azure-iot-sdk-node). IoT Hub
obeys these messages; what it does exactly is not public: see docs/fidelity.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from gateway.faults.registry import Faults
from gateway.hub.topics import Telemetry
from gateway.hub.twin import TwinError

_PREFIX = "AzIoTHub_FaultOperation"
_TYPE, _REASON = f"{_PREFIX}Type", f"{_PREFIX}CloseReason"
_DELAY, _DURATION = f"{_PREFIX}DelayInSecs", f"{_PREFIX}DurationInSecs"
_LONGEST = 86_400.0  # seconds
#: what ends connections: the fault of the catalogue that does it
_ENDINGS = {"KillTcp": "reset", "ShutDownMqtt": "shutdown"}
#: what makes operations fail: status and error code of IoT Hub ("Understand and resolve IoT Hub error codes")
_FAILURES = {
    "InvokeThrottling": TwinError(429, 429_001, "Throttling limits have been exceeded."),
    "InvokeMaxMessageQuota": TwinError(403, 403_002, "Total number of messages on the IoT hub exceeded the quota."),
    "InvokeAuthError": TwinError(401, 401_003, "IoT hub could not authenticate the connection."),
}


class Order(NamedTuple):
    """A fault that was asked for; times in seconds."""

    kind: str
    reason: str
    delay: float
    duration: float


class Operations(Protocol):
    """Where operations of clients can be made to fail."""

    def fail(self, client_id: str, failure: TwinError) -> None:
        """From now on, what this client wants of IoT Hub fails."""

    def recover(self, client_id: str) -> None:
        """No more."""


class Hooks:
    """Orders of the clients of one gateway, on their way."""

    def __init__(self, faults: Faults, operations: Operations, log: logging.Logger) -> None:
        self._faults = faults
        self._operations = operations
        self._log = log
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._undo: dict[tuple[str, str], Callable[[], None]] = {}

    def obey(self, client_id: str, telemetry: Telemetry) -> bool:
        """Whether a message asks for a fault, which is then on its way; what cannot be done is told in the log."""
        if _TYPE not in telemetry.properties:
            return False
        properties = json.loads(telemetry.properties)
        if _TYPE not in properties:
            return False
        try:
            order = _read(properties)
        except ValueError as wrong:
            self._log.warning("Fault injection asked for by %s is ignored: %s", client_id, wrong)
            return True
        text = "Fault injection asked for by %s: %s (%s), in %g s, for %g s"
        self._log.info(text, client_id, order.kind, order.reason, order.delay, order.duration)
        if not self._stopped:
            self._schedule((client_id, order.kind), order.delay, lambda: self._strike(client_id, order))
        return True

    def stop(self) -> None:
        """The gateway stops: nothing is left of any order, and none is taken any more."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for undo in tuple(self._undo.values()):
            undo()
        self._undo.clear()

    def _schedule(self, key: tuple[str, str], seconds: float, action: Callable[[], None]) -> None:
        """One order of a kind for a client at a time: a newer one takes the place of an older one."""
        if key in self._timers:
            self._timers[key].cancel()
        if undo := self._undo.pop(key, None):
            undo()

        def due() -> None:
            del self._timers[key]
            action()

        self._timers[key] = self._loop.call_later(seconds, due)

    def _strike(self, client_id: str, order: Order) -> None:
        undo: Callable[[], None]
        if order.kind in _ENDINGS:
            switched = self._faults.add(_ENDINGS[order.kind], client_id=client_id)
            undo = lambda: self._faults.remove(switched)  # noqa: E731
        else:
            self._operations.fail(client_id, _FAILURES[order.kind])
            undo = lambda: self._operations.recover(client_id)  # noqa: E731
        key = (client_id, order.kind)
        if order.duration:
            self._undo[key] = undo
            self._timers[key] = self._loop.call_later(order.duration, self._over, key)
        else:
            undo()

    def _over(self, key: tuple[str, str]) -> None:
        del self._timers[key]
        self._undo.pop(key)()
        self._log.info("Fault injection asked for by %s is over: %s", *key)


def _read(properties: dict[str, Any]) -> Order:
    kind = properties[_TYPE] or ""
    if kind not in _ENDINGS and kind not in _FAILURES:
        if "Amqp" in kind:
            raise ValueError(f"{kind} is about AMQP, which this gateway does not speak")
        raise ValueError(f"{kind!r} is none of {', '.join([*_ENDINGS, *_FAILURES])}")
    return Order(kind, properties.get(_REASON) or "", _seconds(properties, _DELAY), _seconds(properties, _DURATION))


def _seconds(properties: dict[str, Any], name: str) -> float:
    text = properties.get(name) or "0"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{name} is {text!r}, no number of seconds from 0 to {_LONGEST:g}")
    return value
