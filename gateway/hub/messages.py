"""A device-to-cloud message on its way through the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Message(NamedTuple):
    """One message as stored: `enqueued` in milliseconds since 1970 UTC, both property sets as JSON objects in text.

    `sequence` is the number under which the store knows it; numbers grow in the order of acknowledgement and are never
    used twice. `time_to_live` is the route's, in seconds, 0 for the hub's own. A tuple, because the data plane makes
    one per PUBLISH and hands it to SQLite as it is.
    """

    sequence: int
    device_id: str
    module_id: str | None
    enqueued: int
    properties: str
    system_properties: str
    body: bytes
    time_to_live: int = 0


class InputMessage(NamedTuple):
    """A message to a module's input: `properties` and `system_properties` (by their service names) as they are."""

    input: str
    body: bytes
    properties: Mapping[str, str]
    system_properties: Mapping[str, str]
