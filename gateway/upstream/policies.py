"""Who may use IoT Hub's service API: its shared access policies, their keys, and whether a token is good.

Rule: a token gives the rights of the policy that it names, for what its `sr` begins; whatever is wrong with one, the
answer is the same, and the reason is for the hub's own log. Keys are made once, and leave this module only for a
connection string or for the file that keeps them.
Sources: IoT Hub documentation, "Control access to IoT Hub with shared access signatures" (permissions, policies and
their prefix rule).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Collection, Mapping
from enum import Flag, auto
from pathlib import Path
from urllib.parse import unquote

from gateway.errors import GatewayError, HubCode, ServiceError
from gateway.hub.auth import SasToken, check_expiry, parse_token, signed_with

_SKEW = 0.0  # IoT Hub itself grants no time after the expiry


class Permission(Flag):
    """What a policy allows."""

    NONE = 0
    REGISTRY_READ = auto()
    REGISTRY_WRITE = auto()
    SERVICE_CONNECT = auto()
    DEVICE_CONNECT = auto()


_REGISTRY = Permission.REGISTRY_READ | Permission.REGISTRY_WRITE
#: the policies that every hub begins with
POLICIES: Mapping[str, Permission] = {
    "iothubowner": _REGISTRY | Permission.SERVICE_CONNECT | Permission.DEVICE_CONNECT,
    "service": Permission.SERVICE_CONNECT,
    "device": Permission.DEVICE_CONNECT,
    "registryRead": Permission.REGISTRY_READ,
    "registryReadWrite": _REGISTRY,
}


class UnauthorizedError(ServiceError):
    """IoT Hub's answer to a token that is no good; `reason` is not part of it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        code = HubCode.IotHubUnauthorizedAccess
        super().__init__(code.status, code.name, "Unauthorized", reason)


class Policies:
    """The policies of one hub, whose `hosts` are its names, lower-case; with `path` their keys are kept there."""

    def __init__(self, hosts: Collection[str], path: Path | None = None) -> None:
        self._hosts = frozenset(hosts)
        self._keys = _read(path) if path is not None and path.exists() else {}
        if missing := POLICIES.keys() - self._keys:
            self._keys |= {name: (_new_key(), _new_key()) for name in missing}
            if path is not None:
                _write(path, self._keys)

    def __repr__(self) -> str:
        """The names, and no key."""
        return f"Policies({', '.join(POLICIES)})"

    def key(self, policy: str) -> str:
        """The primary key of a policy. Raises GatewayError for one that does not exist."""
        if policy not in self._keys:
            raise GatewayError(f"policy {policy!r} does not exist", f"choose from {', '.join(POLICIES)}")
        return self._keys[policy][0]

    def permissions(self, authorization: str, path: str, now: float) -> Permission:
        """What the token in an Authorization header allows at `path` and this time. Raises UnauthorizedError."""
        token = parse_token(authorization)
        if token is None:
            raise UnauthorizedError("there is no SharedAccessSignature with sr, sig, se and skn")
        if token.policy not in self._keys:
            named = f"no policy is called {token.policy!r}" if token.policy else "the token names no policy (skn)"
            raise UnauthorizedError(f"{named}; the tokens of devices are good for devices only")
        if not any(signed_with(token, key) for key in self._keys[token.policy]):
            raise UnauthorizedError(f"the signature matches no key of policy {token.policy}")
        if check_expiry(token, now, _SKEW):
            raise UnauthorizedError(f"the token of policy {token.policy} has expired")
        self._check_resource(token, path)
        return POLICIES[token.policy]

    def _check_resource(self, token: SasToken, path: str) -> None:
        host, *inside = [part.lower() for part in unquote(token.resource).rstrip("/").split("/")]
        if _without_port(host) not in self._hosts:
            raise UnauthorizedError("the token's sr is not the name of this hub")
        if inside != path.lower().strip("/").split("/")[: len(inside)]:
            raise UnauthorizedError("the token's sr names something else than what is asked for")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _read(path: Path) -> dict[str, tuple[str, str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: (str(found[name]["primaryKey"]), str(found[name]["secondaryKey"])) for name in POLICIES}
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        # Only the kind of error: its text may quote the file, and the file holds keys.
        hint = "move the file away to get new keys; it was not changed"
        raise GatewayError(f"cannot read the policies {path}: {type(wrong).__name__}", hint) from None


def _write(path: Path, keys: Mapping[str, tuple[str, str]]) -> None:
    document = {name: {"primaryKey": primary, "secondaryKey": secondary} for name, (primary, secondary) in keys.items()}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
        temporary.replace(path)
    except OSError as wrong:
        hint = "choose another folder with --state"
        raise GatewayError(f"cannot write the policies {path}: {wrong.strerror}", hint) from None
