"""Who a client says it is: the CONNECT user name.

Rule: this module alone knows the grammar `{hub}/{deviceId}[/{moduleId}]/?api-version=...`.
Source: MqttUsernameParser.cs in Azure/iotedge (edge-hub/core/src/Microsoft.Azure.Devices.Edge.Hub.Mqtt).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote


class UsernameError(ValueError):
    """The user name cannot be read; the product answers CONNACK 3."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device or a module as named in its user name. The hub name is kept as sent: the product does not check it.

    With an `auth_chain` (gateway.hub.authchain) another Edge Hub speaks for it.
    """

    hub: str
    device_id: str
    module_id: str | None
    api_version: str
    client_type: str | None = None
    model_id: str | None = None
    auth_chain: str | None = None

    @property
    def client_id(self) -> str:
        """What the MQTT client id must be, compared letter by letter."""
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"


def parse_username(username: str) -> Identity:
    """Read a CONNECT user name; raises UsernameError with what is wrong.

    Three segments name a device, four a module; `host/dev/mod?&api-version=x` therefore names the *device* `dev`, and
    `host/dev?api-version=x` is too short. Keys are case-sensitive, unknown ones are ignored, values are unescaped.
    """
    segments = username.split("/")
    if len(segments) not in (3, 4):
        raise UsernameError(f"{len(segments)} segments where hub/device/query or hub/device/module/query is expected")
    *names, query = segments
    if not query.startswith("?") and "api-version=" not in query:
        raise UsernameError("the last segment is no query: it neither starts with '?' nor has api-version=")
    if not all(name.strip() for name in names):
        raise UsernameError("an empty hub, device or module name")
    values = _query(query)
    api_version = values.get("api-version", "").strip()
    if not api_version:
        raise UsernameError("api-version is missing or empty")
    return Identity(
        hub=names[0],
        device_id=names[1],
        module_id=names[2] if len(names) == 3 else None,
        api_version=api_version,
        client_type=values.get("DeviceClientType"),
        model_id=values.get("model-id"),
        auth_chain=values.get("auth-chain", "").strip() or None,
    )


def _query(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.removeprefix("?").split("&"))
    return {key: unquote(value) for key, _, value in pairs}
