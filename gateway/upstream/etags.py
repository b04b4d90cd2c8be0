"""Whether a change may be made: what If-Match says, against the ETag there is.

Source: IoT Hub documentation, "Device twin" and "Identity registry" (optimistic concurrency by If-Match); RFC 9110,
13.1.1. Both service SDKs send the wildcard in quotes.
"""

from __future__ import annotations


def matches(condition: str | None, etag: str) -> bool:
    """Whether `condition` allows a change: None and `*` always do, an ETag when it is `etag`; quotes do not count."""
    return condition is None or condition.strip('"') in ("*", etag)
