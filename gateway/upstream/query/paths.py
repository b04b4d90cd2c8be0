"""Which property of a document an attribute of a query means.

Rule: the names that IoT Hub itself gives compare without regard to case and come out as IoT Hub spells them ("SELECT
DeviceId" gives deviceId); names below tags and properties are the user's and compare letter by letter.
Sources: "Queries for IoT Hub device and module twins" (the projection query and its result) and "Queries for IoT Hub
jobs".
"""

from __future__ import annotations

import re

from gateway.upstream.query.values import Path

DEVICES, MODULES, JOBS = "devices", "devices.modules", "devices.jobs"
COLLECTIONS = (DEVICES, MODULES, JOBS)

_TWIN = (
    "deviceId moduleId etag deviceEtag status statusReason statusUpdateTime connectionState connectionStateUpdatedTime "
    "lastActivityTime cloudToDeviceMessageCount authenticationType x509Thumbprint modelId version tags properties "
    "capabilities deviceScope parentScopes configurations"
)
_JOB = (
    "deviceId moduleId jobId jobType status startTimeUtc endTimeUtc createdDateTimeUtc lastUpdatedDateTimeUtc "
    "outcome error"
)
_BELOW = {
    "properties": "desired reported",
    "capabilities": "iotEdge",
    "x509Thumbprint": "primaryThumbprint secondaryThumbprint",
    "outcome": "deviceMethodResponse",
    "error": "code description",
}
_ALSO = {"createdtimeutc": "createdDateTimeUtc"}  # so the documentation's own example calls it
_SEGMENT = re.compile(r"\[\[(?P<quoted>[^\]]+)\]\]|[^.\[]+")


def segments(text: str) -> Path:
    """The names in `a.b.[[c.d]]`."""
    return tuple(match["quoted"] or match[0] for match in _SEGMENT.finditer(text))


def canonical(collection: str, text: str) -> Path:
    """The path in a document of the collection that an attribute means; `devices.` in front of it may be left out."""
    path = segments(text)
    prefix = tuple(collection.split("."))
    if len(path) > len(prefix) and tuple(name.lower() for name in path[: len(prefix)]) == prefix:
        path = path[len(prefix) :]
    known = _spelled(_JOB if collection == JOBS else _TWIN) | (_ALSO if collection == JOBS else {})
    first = known.get(path[0].lower(), path[0])
    if len(path) == 1 or first not in _BELOW:
        return first, *path[1:]
    return first, _spelled(_BELOW[first]).get(path[1].lower(), path[1]), *path[2:]


def _spelled(names: str) -> dict[str, str]:
    return {name.lower(): name for name in names.split()}
