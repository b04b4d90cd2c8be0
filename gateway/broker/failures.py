"""Clients whose operations fail for a while, as IoT Hub lets them fail over MQTT.

Rule: MQTT 3.1.1 has no way to refuse a PUBLISH; it stays without an acknowledgement, and nobody is disconnected.
"""

from __future__ import annotations

from gateway.hub.topics import Telemetry


class WithheldError(Exception):
    """A PUBLISH that is neither taken nor acknowledged."""


class Uncached(dict[bytes, Telemetry]):
    """In place of the cache of topics while operations fail: every topic is read, and its client looked at."""

    def __setitem__(self, key: bytes, value: Telemetry) -> None:
        """Keep nothing."""
