"""One cloud-to-device message: what IoT Hub takes, and what it makes of it.

Sources: IoT Hub documentation, "Understand cloud-to-device messaging from an IoT hub", "Create and read IoT Hub
messages" (system properties) and "IoT Hub quotas and throttling" (64 KB).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from gateway.errors import CommandRefusedError

Ack = Literal["none", "positive", "negative", "full"]

_EXPIRY = "absolute-expiry-time"
_SYNONYMS = {"expiry-time-utc": _EXPIRY, "creation-time-utc": "iothub-creation-time-utc", "ack": "iothub-ack"}
SYSTEM_PROPERTIES = (
    "message-id",
    "correlation-id",
    "user-id",
    "content-type",
    "content-encoding",
    "to",
    _EXPIRY,
    "iothub-creation-time-utc",
    "iothub-ack",
)


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """IoT Hub's limits of cloud-to-device messages, in seconds and bytes."""

    queue_depth: int = 50
    most_bytes: int = 64 * 1_024
    default_ttl: float = 3_600.0
    most_ttl: float = 48 * 3_600.0
    most_deliveries: int = 10
    lock_seconds: float = 60.0
    feedback_batch: int = 64
    feedback_seconds: float = 15.0
    feedback_ttl: float = 3_600.0
    most_feedback_batches: int = 1_000


@dataclass(frozen=True, slots=True)
class Command:
    """One message; `enqueued` and `expires` in seconds since 1970 UTC.

    `lock_token` is empty until it is received; `delivery_count` is how often it was given back.
    """

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
        """The id that its sender gave it; empty when there is none."""
        return self.system_properties.get("message-id", "")

    def to_json(self) -> dict[str, Any]:
        """What is kept of it: all but its lock."""
        return {
            "device": self.device_id,
            "body": base64.b64encode(self.body).decode(),
            "properties": dict(self.properties),
            "system": dict(self.system_properties),
            "ack": self.ack,
            "enqueued": self.enqueued,
            "expires": self.expires,
            "count": self.delivery_count,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Command:
        """Read what `to_json` made; raises KeyError, TypeError or ValueError for anything else."""
        if kept["ack"] not in get_args(Ack):
            raise ValueError("there is no such kind of feedback")
        return cls(
            device_id=kept["device"],
            body=base64.b64decode(kept["body"], validate=True),
            properties=MappingProxyType(dict(kept["properties"])),
            system_properties=MappingProxyType(dict(kept["system"])),
            ack=kept["ack"],
            enqueued=float(kept["enqueued"]),
            expires=float(kept["expires"]),
            delivery_count=int(kept["count"]),
        )

    def delivered(self, lock_token: str, delivery_count: int) -> Command:
        """The same message as a device receives it."""
        return replace(self, lock_token=lock_token, delivery_count=delivery_count)


def accept(
    device_id: str,
    body: bytes,
    properties: Mapping[str, str],
    system_properties: Mapping[str, str],
    *,
    ttl: float | None,
    ack: str | None,
    now: float,
    limits: CommandLimits,
) -> Command:
    """Make a message of what a sender gave at `now`; raises CommandRefusedError."""
    if not device_id or "/" in device_id:
        raise _refused(f"{device_id!r} is no device id", "modules get no cloud-to-device messages")
    if not isinstance(body, bytes | bytearray | memoryview):
        raise _refused(f"a body is bytes, not {type(body).__name__}")
    system = _system(system_properties)
    wanted = system.pop("iothub-ack", "none") if ack is None else ack
    if wanted not in get_args(Ack):
        raise _refused(f"{wanted!r} is no kind of feedback", f"choose from {', '.join(get_args(Ack))}")
    expires = _expiry(system.get(_EXPIRY), ttl, now, limits)
    if ttl is not None or _EXPIRY in system:
        system[_EXPIRY] = f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
    address = f"/devices/{device_id}/messages/devicebound"
    if system.setdefault("to", address).lower() != address.lower():
        raise _refused(f"'to' is {system['to']!r}, which is not {address}")
    kept, served = _texts(properties), system | ({} if wanted == "none" else {"iothub-ack": wanted})
    _check_size(body, kept, served, limits)
    ordered = {name: served[name] for name in SYSTEM_PROPERTIES if name in served}
    views = MappingProxyType(kept), MappingProxyType(ordered)
    return Command(device_id, bytes(body), *views, cast(Ack, wanted), now, expires)


def _system(given: Mapping[str, str]) -> dict[str, str]:
    system = {_SYNONYMS.get(name, name): value for name, value in _texts(given).items()}
    if unknown := sorted(system.keys() - set(SYSTEM_PROPERTIES)):
        raise _refused(f"{unknown[0]!r} is no system property", f"choose from {', '.join(SYSTEM_PROPERTIES)}")
    return system


def _expiry(text: str | None, ttl: float | None, now: float, limits: CommandLimits) -> float:
    if ttl is not None:
        if not 0 < ttl <= limits.most_ttl:
            raise _refused(f"a message cannot live {ttl:g} seconds", f"at most {limits.most_ttl:g}")
        return now + ttl
    if text is None:
        return now + limits.default_ttl
    try:
        moment = datetime.fromisoformat(text)
        expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _refused(f"{text!r} is no time of expiry", "a time looks like 2026-03-01T09:30:00Z") from None
    if expires > now + limits.most_ttl:
        raise _refused(f"the time of expiry, {text}, is too far away", f"at most {limits.most_ttl:g} seconds from now")
    return max(expires, 0.0)  # .NET's earliest time is long before 1970


def _check_size(body: bytes, properties: Mapping[str, str], system: Mapping[str, str], limits: CommandLimits) -> None:
    """Body, names and values of properties count; of system properties the values, except for the address."""
    size = len(body) + sum(len(name.encode()) + len(value.encode()) for name, value in properties.items())
    size += sum(len(value.encode()) for name, value in system.items() if name != "to")
    if size > limits.most_bytes:
        raise CommandRefusedError(413, 413_001, f"a message of {size} bytes; {limits.most_bytes} is the most")


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in properties.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None
    if text is None or not _is_whole(text):
        raise _refused(f"{value!r} cannot be part of a message's properties", "properties are text")
    return text


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _refused(message: str, hint: str | None = None) -> CommandRefusedError:
    return CommandRefusedError(400, 400_004, message, hint)
