"""Direct methods as a back end calls them."""

from __future__ import annotations

import json
import re
from typing import Any

from gateway.errors import GatewayError
from gateway.hub.methods import MethodCall

_METHOD_NAME = re.compile(r"[^/+#\0\ud800-\udfff]{1,100}\Z")  # no wildcard of MQTT, and no half of a character
_MOST_PAYLOAD = 128 * 1_024


def method_call(client_id: str, name: str, payload: Any, response_timeout: float, connect_timeout: float) -> MethodCall:
    """A call within IoT Hub's limits. Raises GatewayError for what IoT Hub would not send.

    Source: IoT Hub documentation, "Understand and invoke direct methods from IoT Hub".
    """
    if not _METHOD_NAME.match(name):
        raise GatewayError("a method's name has 1 to 100 characters, none of them / + or #")
    try:
        body = json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as wrong:
        raise GatewayError(f"the payload of a method is no JSON: {wrong}") from None
    if len(body) > _MOST_PAYLOAD:
        raise GatewayError(f"the payload of a method has {len(body)} bytes; {_MOST_PAYLOAD} is the most")
    if not 5 <= response_timeout <= 300:
        raise GatewayError(f"a response timeout of {response_timeout:g} seconds", "from 5 to 300 seconds")
    if not 0 <= connect_timeout <= 300:
        raise GatewayError(f"a connect timeout of {connect_timeout:g} seconds", "from 0 to 300 seconds")
    return MethodCall(client_id, name, body, response_timeout, connect_timeout)
