"""M: what comes after TLS, the identity of the device and the answer to its CONNECT.

Rule: a CONNECT is a real one, with CleanSession 0 and without subscriptions, so that no session is lost; a device that
is connected under the same identity is displaced for a moment. No key and no token is ever part of a finding.
Sources: MqttUsernameParser.cs, DeviceIdentityProvider.cs and DeviceScopeAuthenticator.cs of Azure/iotedge; MQTT 3.1.1,
3.2.2.3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509

from certs.hostname import matches
from leafsim.connection import ConnectionString
from leafsim.device import Device
from leafsim.diagnose.report import Finding
from leafsim.diagnose.token import SCHEME, judge
from leafsim.errors import ConnackRefused, ConnectionStringError, Disconnected, LeafError, TlsRefused, Unreachable
from leafsim.stacks import Target

_CODES = {
    1: ("M5", "the gateway does not take the leaf's MQTT version", "let the leaf use MQTT 3.1.1 (protocol level 4)"),
    2: ("M5", "the gateway does not take the MQTT client id", "use DeviceId, or DeviceId/ModuleId, as client id"),
    3: (
        "M5",
        "the gateway is not available, or cannot read the user name",
        "use HUB/DEVICE/?api-version=2018-06-30 as user name; if it is right, look at the gateway's log",
    ),
    4: ("M5", "the gateway rejects user name or password as such", "build both as the device SDKs do"),
    5: (
        "M6",
        "the gateway does not accept the device",
        "in this order: make it a child of this gateway (set its parent) and wait two minutes; compare its key; "
        "enable it; compare the clocks of leaf and gateway; an X.509 device has to show its certificate",
    ),
}
_RULED_OUT = "Ruled out: a malformed user name, client id or token"
_ONE_CODE = "Alike from here: no child of this gateway, unknown, disabled, wrong key, wrong HostName, wrong clock"
_CLOCK = "MQTT does not tell the gateway's clock; here it is"


class Answer(NamedTuple):
    """Whether the gateway accepted the device, None when nobody connected; and what is to be told about it."""

    accepted: bool | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Identity:
    """What a connection string says; nothing at all without one."""

    parsed: ConnectionString | None = None
    token: str | None = field(default=None, repr=False)  # a ready-made one, in place of a key
    wrong: Finding | None = None

    @classmethod
    def of(cls, text: str | None) -> Identity:
        """Read a connection string; one that cannot be used is a finding."""
        if text is None:
            return cls()
        parts = text.strip().split(";")
        tokens = [one.partition("=")[2] for one in parts if one.startswith(f"{SCHEME}=")]
        readable = ";".join(one for one in parts if not one.startswith(f"{SCHEME}=")) + (";x509=true" if tokens else "")
        try:
            parsed = ConnectionString.parse(readable if tokens else text)
        except ConnectionStringError as wrong:
            return cls(wrong=_finding("M1", "the connection string is not usable", wrong.detail, wrong.hint or ""))
        return cls(parsed.replace(x509=False) if tokens else parsed, tokens[0] if tokens else None)

    @property
    def gateway(self) -> str | None:
        """The gateway's name by this string."""
        return self.parsed.gateway_host_name if self.parsed else None

    def findings(self, name: str, server: x509.Certificate | None) -> list[Finding]:
        """Judge the string by itself and against the name that is looked at, and the gateway's certificate."""
        found = [self.wrong] if self.wrong else []
        if self.parsed is not None:
            found += _of_names(self.parsed, name, server)
            found += judge(self.token, self.parsed, time.time()) if self.token else ()
        return found

    def connect(self, target: Target, timeout: float) -> Answer:
        """Connect as the device, once, if there is one."""
        if self.parsed is None:
            return Answer()
        if target.trust is None:
            return _left_out("its token shall not go to somebody who is not trusted", "give --trust FILE")
        if self.parsed.x509:
            return _left_out("an X.509 device needs its private key for that", "leafgate leaf connect --help")
        called = self.parsed.gateway_host_name or target.name
        device = _Bearer(
            self.parsed.replace(gateway_host_name=called),
            trust=target.trust,
            port=target.port,
            connect_to={(called, target.port): (target.host, target.port)},
            clean_session=False,
        )
        device.token = self.token
        try:
            device.connect(timeout)
        except LeafError as refused:
            return Answer(False, (_of_refusal(refused, self.parsed),))
        device.disconnect()
        return Answer(True)


class _Bearer(Device):
    """A device that shows a token which was made elsewhere, if there is one."""

    token: str | None = None

    def _password(self) -> str | None:
        return self.token or super()._password()


def _of_names(parsed: ConnectionString, name: str, server: x509.Certificate | None) -> Iterator[Finding]:
    gateway = parsed.gateway_host_name
    if gateway is None:
        yield _finding(
            "M2",
            "the connection string has no GatewayHostName, so the device goes past the gateway",
            f"HostName={parsed.host_name}",
            f"add ;GatewayHostName={name}",
        )
    elif gateway.lower() != name.lower():
        yield Finding(
            rule="M4",
            severity="warning" if server is not None and matches(server, gateway) else "error",
            cause="the device uses another name for the gateway than the one looked at",
            evidence=f"GatewayHostName={gateway}; looked at {name}",
            fix=f"diagnose with --name {gateway}, or change GatewayHostName",
        )
    if parsed.host_name.lower() in (name.lower(), (gateway or "").lower()):
        yield _finding(
            "M3",
            "HostName is the gateway; it has to be the IoT Hub",
            f"HostName={parsed.host_name}",
            f"write HostName=YOURHUB.azure-devices.net;...;GatewayHostName={name}",
        )


def _of_refusal(refused: LeafError, parsed: ConnectionString) -> Finding:
    match refused:
        case ConnackRefused(code=5):
            rule, cause, fix = _CODES[5]
            now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            evidence = f"CONNACK 5 ({refused.name}) for {parsed.client_id}. {_RULED_OUT}. {_ONE_CODE}. {_CLOCK} {now}"
            return _finding(rule, cause, evidence, fix)
        case ConnackRefused():
            rule, cause, fix = _CODES.get(refused.code, ("M5", refused.message, refused.hint or ""))
            return _finding(rule, cause, f"CONNACK {refused.code} ({refused.name}) for {parsed.client_id}", fix)
        case Unreachable() if refused.phase == "mqtt":
            fix = "look at the gateway's log; is it cut off from IoT Hub while it does not know the device?"
            return _finding("M7", "the gateway does not answer CONNECT", refused.detail, fix)
        case TlsRefused() if refused.alert is None and not refused.eof:
            fix = "use a name that the certificate has as GatewayHostName"
            return _finding("M7", "the device refuses the gateway's certificate", refused.detail, fix)
        case Disconnected() | TlsRefused():
            fix = "look at the gateway's log; it may have refused TLS, or the packet"
            return _finding("M7", "the gateway ends the connection instead of answering CONNECT", refused.message, fix)
    return _finding("M1", "this device cannot connect", refused.message, refused.hint or "")


def _left_out(why: str, fix: str) -> Answer:
    note = Finding(rule="M0", severity="note", cause="the device was not connected", evidence=why, fix=fix)
    return Answer(None, (note,))


def _finding(rule: str, cause: str, evidence: str, fix: str) -> Finding:
    return Finding(rule=rule, severity="error", cause=cause, evidence=evidence, fix=fix)
