"""M: what comes after TLS, the identity of the device and the answer to its CONNECT.

Rule: a CONNECT is a real one, with CleanSession 0 and without subscriptions, so that no session is lost; a device that
is connected under the same identity is displaced for a moment. No key and no token is ever part of a finding.
Sources: MqttUsernameParser.cs, DeviceIdentityProvider.cs and DeviceScopeAuthenticator.cs of Azure/iotedge; MQTT 3.1.1,
3.2.2.3.
"""

from __future__ import annotations

from pathlib import Path

from leafsim.connection import ConnectionString
from leafsim.device import Device
from leafsim.diagnose.report import Finding
from leafsim.errors import ConnackRefused, ConnectionStringError, Disconnected, LeafError, TlsRefused, Unreachable

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
_ONE_CODE = "the gateway answers the same for a device that is no child of it, unknown, disabled, or has the wrong key"


def of_string(text: str, name: str) -> tuple[ConnectionString | None, list[Finding]]:
    """Judge a connection string by itself and against the name that is being diagnosed."""
    try:
        parsed = ConnectionString.parse(text)
    except ConnectionStringError as wrong:
        return None, [_finding("M1", "the connection string is not usable", wrong.detail, wrong.hint or "")]
    found = []
    if parsed.gateway_host_name is None:
        found.append(
            _finding(
                "M2",
                "the connection string has no GatewayHostName, so the device goes past the gateway",
                f"HostName={parsed.host_name}",
                f"add ;GatewayHostName={name}",
            )
        )
    elif parsed.gateway_host_name.lower() != name.lower():
        found.append(
            _finding(
                "M4",
                "the device uses another name for the gateway than the one looked at",
                f"GatewayHostName={parsed.gateway_host_name}; looked at {name}",
                f"diagnose with --name {parsed.gateway_host_name}, or change GatewayHostName",
            )
        )
    if parsed.host_name.lower() in (name.lower(), (parsed.gateway_host_name or "").lower()):
        found.append(
            _finding(
                "M3",
                "HostName is the gateway; it has to be the IoT Hub",
                f"HostName={parsed.host_name}",
                f"write HostName=YOURHUB.azure-devices.net;...;GatewayHostName={name}",
            )
        )
    return parsed, found


def of_connect(parsed: ConnectionString, host: str, port: int, trust: Path | None, timeout: float) -> Finding | None:
    """Connect as the device, once; None when the gateway accepts it."""
    target = (parsed.target, port)
    device = Device(parsed, trust=trust, port=port, connect_to={target: (host, port)}, clean_session=False)
    try:
        device.connect(timeout)
    except LeafError as refused:
        return _of_refusal(refused, parsed)
    device.disconnect()
    return None


def _of_refusal(refused: LeafError, parsed: ConnectionString) -> Finding | None:
    match refused:
        case TlsRefused() if refused.alert is None and not refused.eof:
            return None  # the leaf's own verdict on the chain, which has been told
        case ConnackRefused():
            rule, cause, fix = _CODES.get(refused.code, ("M5", refused.message, refused.hint or ""))
            evidence = f"CONNACK {refused.code} ({refused.name}) for {parsed.client_id}"
            return _finding(rule, cause, f"{evidence}; {_ONE_CODE}" if refused.code == 5 else evidence, fix)
        case Unreachable() if refused.phase == "mqtt":
            fix = "look at the gateway's log; is it cut off from IoT Hub while it does not know the device?"
            return _finding("M7", "the gateway does not answer CONNECT", refused.detail, fix)
        case Disconnected() | TlsRefused():
            fix = "look at the gateway's log; it may have refused TLS, or the packet"
            return _finding("M7", "the gateway ends the connection instead of answering CONNECT", refused.message, fix)
    return _finding("M1", "this device cannot connect", refused.message, refused.hint or "")


def _finding(rule: str, cause: str, evidence: str, fix: str) -> Finding:
    return Finding(rule=rule, severity="error", cause=cause, evidence=evidence, fix=fix)
