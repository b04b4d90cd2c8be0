"""One message in the feed's form: the JSON that other programs rely on.

Rule: a change is a new field, never a new meaning. `systemProperties` has what Event Hubs' libraries give under that
name: the message's own properties and IoT Hub's annotations.
"""

from __future__ import annotations

import base64
from typing import Any

from gateway.upstream.arrivals import Delivered


def as_event(message: Delivered) -> dict[str, Any]:
    """The message as a JSON object."""
    return {
        "deviceId": message.device_id,
        "moduleId": message.module_id,
        "source": message.source,
        "enqueuedTime": f"{message.enqueued_time:%Y-%m-%dT%H:%M:%S}.{message.enqueued_time.microsecond // 1000:03d}Z",
        "sequence": message.sequence,
        "systemProperties": {**message.system_properties, **message.annotations},
        "properties": dict(message.properties),
        "body": base64.b64encode(message.body).decode(),
    }
