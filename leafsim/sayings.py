"""What device SDKs, MQTT clients, sockets and the gateway's log say where no TLS stack has the word.

Rule: a row stands for words that were seen: azure-iot-device 2.14 and azure-iot-device-mqtt 1.16 against CONNACK codes,
closed and silent connections (docs/device-sdks.md), Edge Hub's log lines and CONNACK codes (DeviceIdentityProvider.cs,
MqttUsernameParser.cs, DeviceScopeIdentitiesCache.cs in Azure/iotedge), alert names of RFC 8446. What a TLS stack says
about certificates is in the measured table instead (`certs.outcomes`).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Saying(NamedTuple):
    """Words -> what is behind them. `pattern` is searched in lower-case text; `who` says it."""

    pattern: str
    rule: str
    cause: str
    fix: str
    tell: str
    who: tuple[str, ...]
    see: tuple[str, ...]


_PYTHON, _NODE, _C, _NET = (
    "azure-iot-device (Python)",
    "azure-iot-device (Node.js)",
    "azure-iot-sdk-c",
    "Azure SDK .NET",
)
_MQTT = (_PYTHON, _NODE, _C, _NET, "paho-mqtt")
_LOG = ("the gateway's log",)
_SCOPE = "set its parent to this gateway and wait two minutes, Edge Hub does not ask IoT Hub more often"

#: what was behind these words themselves
SAYINGS = (
    Saying(
        r"(refused|accepted)\W+(0x0?5\W+)?not authori[sz]ed|refusednotauthorized|\brc\W{1,3}5\b"
        r"|connack\W+(code\W+)?5\b",
        "M6", "CONNACK 5: the device is no child of this gateway, unknown or disabled, or its key or token is wrong",
        f"{_SCOPE}; compare its key; compare the clocks",
        "the gateway's log has the reason; to the device the code is the same for all of them", _MQTT,
        ("leafgate run sas/wrong-key", "leafgate run sas/expired-token"),
    ),
    Saying(
        r"device scope not found|parent-child relationship is not set|not in (the )?scope",
        "M6", "CONNACK 5: the device is no child of this gateway, or the gateway has not heard of it yet", _SCOPE,
        "a device that was a child before connects", _LOG, ("leafgate up --leaf press-7",),
    ),
    Saying(
        r"did not match the primary or the secondary thumbprint",
        "M6", "CONNACK 5: the client certificate is not the one that the device is registered with",
        "compare the SHA-1 or SHA-256 thumbprints of certificate and registration",
        "a device with a key connects", _LOG, (),
    ),
    Saying(
        r"broker unavailable|server unavailable|refusedserverunavailable|\brc\W{1,3}3\b|connack\W+(code\W+)?3\b",
        "M5", "CONNACK 3: the gateway cannot read the user name, or is not available",
        "use HUB/DEVICE/?api-version=2021-04-12 as user name; if a device SDK built it, look at the gateway's log",
        "a device SDK builds the user name by itself; other MQTT clients have to", _MQTT,
        ("leafgate run faults/connack-unavailable",),
    ),
    Saying(
        r"unable to generate identity for clientid",
        "M5", "CONNACK 3: the user name is missing or not HUB/DEVICE/?api-version=...",
        "use HUB/DEVICE/?api-version=2021-04-12 as user name and DeviceId as client id",
        "another client than a device SDK, or a bridge", _LOG, (),
    ),
    Saying(
        r"identifier rejected|refusedidentifierrejected|connack\W+(code\W+)?2\b",
        "M5", "CONNACK 2: the MQTT client id is not acceptable (Edge Hub itself never answers 2)",
        "use DeviceId, or DeviceId/ModuleId, as client id; is it Edge Hub that answers?", "look at what answers there",
        _MQTT, ("leafgate up --fault connack:code=2",),
    ),
    Saying(
        r"(unacceptable|unsupported) protocol version|refusedunacceptableprotocolversion|connack\W+(code\W+)?1\b",
        "M5", "CONNACK 1: the client does not speak MQTT 3.1.1", "use MQTT 3.1.1 (protocol level 4), not 5",
        "the protocol version that the client is set to", _MQTT, ("leafgate up --fault connack:code=1",),
    ),
    Saying(
        r"bad user ?name or password|refusedbadusernameorpassword|connack\W+(code\W+)?4\b",
        "M5", "CONNACK 4: user name or password are malformed (Edge Hub itself never answers 4)",
        "build both as the device SDKs do; does the device reach IoT Hub instead of the gateway?",
        "IoT Hub answers 4 for a wrong key, Edge Hub 5: look at the address that it connects to", _MQTT,
        ("leafgate up --fault connack:code=4",),
    ),
    Saying(
        r"econnrefused|connection refused(?!:)|errno 111|actively refused",
        "D1", "nothing listens on that port: Edge Hub does not run or restarts, or the port is not published",
        "start Edge Hub; publish 8883, 443 and 5671; open the firewall", "`docker ps` on the gateway",
        ("sockets of every language",), ("leafgate run faults/refused",),
    ),
    Saying(
        r"name or service not known|getaddrinfo|enotfound|eai_again|unknownhost|gaierror|no such host|nodename nor",
        "D1", "the gateway's name does not resolve on the leaf; or GatewayHostName is missing, or has a port or mqtts://",
        "write the bare name into GatewayHostName, and into DNS or the leaf's hosts file",
        "the name in the message: the gateway's, the hub's, or one with something added",
        ("sockets of every language",), ("leafgate diagnose HOST:8883 --connection-string ...",),
    ),
    Saying(
        r"no route to host|ehostunreach|network is unreachable|enetunreach",
        "D1", "there is no way from the leaf to the gateway's address", "compare address, network and firewall",
        "`ping` and `traceroute` from the leaf", ("sockets of every language",), (),
    ),
    Saying(
        r"econnreset|connection reset by peer|forcibly closed",
        "D1", "what listens there drops the connection: another protocol on that port, a proxy, or Edge Hub stopping",
        "use 8883 for MQTT over TLS, not 1883; look at the gateway's log", "whether it happens before a certificate "
        "is shown: openssl s_client -connect HOST:8883", ("sockets of every language",),
        ("leafgate run faults/reset-after-handshake",),
    ),
    Saying(
        r"^\W*eof\W*$|errorstring eof\b",
        "D1", "the connection ends before a certificate is shown: the port does not speak TLS",
        "use 8883 for MQTT over TLS (1883 is plain text)", "openssl s_client -connect HOST:PORT shows no certificate",
        ("Go",), ("leafgate matrix plain-port",),
    ),
    Saying(
        r"wrong.version.number|unknown protocol|record layer failure|plain http request",
        "D1", "the port does not speak TLS", "use 8883 for MQTT over TLS (1883 is plain text)",
        "openssl s_client -connect HOST:PORT shows no certificate", ("OpenSSL and what is built on it",),
        ("leafgate diagnose HOST:1883",),
    ),
    Saying(
        r"eof occurred in violation of protocol|unexpected.eof.while.reading",
        "D4", "the gateway wants a client certificate, which the Python SDK reports as an early end",
        "give the leaf one, or let the gateway not require it", "`leafgate diagnose` names D4", (_PYTHON,),
        ("leafgate matrix mtls-required",),
    ),
    Saying(
        r"eof occurred in violation of protocol|unexpected.eof.while.reading",
        "D2", "the gateway speaks TLS 1.3 only, and the Python SDK is fixed to TLS 1.2",
        "allow TLS 1.2 on the gateway (SslProtocols)", "`leafgate diagnose` names D2", (_PYTHON,),
        ("leafgate matrix tls13-only",),
    ),
    Saying(
        r"no shared cipher",
        "D3", "leaf and gateway have no cipher suite or key type in common", "compare key type and ciphers",
        "the leaf says handshake failure", _LOG, ("leafgate matrix cipher-rsa-kx",),
    ),
    Saying(
        r"alert unknown.ca\b",
        "T1", "the other side does not trust this side's chain: in the gateway's log, a leaf without the root",
        "install the root on the leaf; on the leaf's side, look at its client certificate",
        "whose log it is: the alert came from the other side", _LOG, ("leafgate run tls/root-missing-on-leaf",),
    ),
    Saying(
        r"alert (bad.certificate|certificate.unknown)\b",
        "N4", "the other side refuses this side's certificate: in the gateway's log, mostly a leaf with another name "
        "for the gateway; GnuTLS, Go, rustls and Java send this for every reason",
        "compare GatewayHostName with the gateway's hostname, then what the leaf trusts, then the clocks",
        "the leaf's own message says which", _LOG, ("leafgate run tls/hostname-mismatch",),
    ),
    Saying(
        r"alert certificate.expired\b",
        "E1", "for the other side's clock a certificate of this side has expired", "renew it; compare the clocks",
        "dates of every certificate", _LOG, ("leafgate run tls/expired-server-certificate",),
    ),
    Saying(
        r"cadata (should be an ascii string|does not contain a certificate)|no start line",
        "F1", "the file with the trusted root is no PEM file with a certificate, or has a character that is not ASCII",
        "write the root as PEM: -----BEGIN CERTIFICATE-----, without comments", "leafgate certs show FILE", (_PYTHON,),
        ("leafgate certs show FILE",),
    ),
    Saying(
        r"operationtimeout|transport timeout|(timed|time) ?out|etimedout|errno 110",
        "M7", "the gateway does not answer: a firewall drops packets, or Edge Hub asks IoT Hub about a device that it "
        "does not know and cannot reach it (up to 100 s)",
        "open 8883; look at the gateway's log; register the device as a child before it connects",
        "`leafgate diagnose` tells silence at the port from silence after CONNECT", _MQTT,
        ("leafgate run faults/silent",),
    ),
    Saying(
        r"unable to establish a connection|connection was lost|channel closed|multipleconnections",
        "M7", "the gateway ended the connection without an answer: a device with the same id connected, the token "
        "expired, it restarts, or it wants a client certificate",
        "look at the gateway's log for the reason; is the program running twice?", "whether it returns at once, after "
        "an hour (token), or with another program's connect", _MQTT, ("leafgate run faults/reset-after-handshake",),
    ),
)  # fmt: skip
#: words around other words: they count when nothing else is known
OUTER = (
    Saying(
        r"credentials invalid|credentialerror|unauthorizedexception",
        "M6", "CONNACK 5 or 4: the gateway does not accept the device",
        f"{_SCOPE}; compare its key; compare the clocks", "paste the whole traceback: its innermost line counts", _MQTT,
        ("leafgate run sas/wrong-key",),
    ),
    Saying(
        r"tls exchange|tlsexchangeautherror",
        "T1", "the TLS handshake failed; the exception below this one says why",
        "paste the whole traceback, its innermost line above all", "the innermost line", (_PYTHON,),
        ("leafgate diagnose HOST:8883 --trust root.pem",),
    ),
    Saying(
        r"could not connect to iothub|lost connection to iothub|connectionfailederror",
        "D1", "the connection failed or ended before an answer; the exception below this one says why",
        "paste the whole traceback, its innermost line above all", "the innermost line", (_PYTHON,),
        ("leafgate diagnose HOST:8883",),
    ),
    Saying(
        r"failure on first connection",
        "D1", "the first connection failed; the words after the colon say why, whatever the brackets say",
        "look at the words after the colon", "the Node.js SDK writes (Not authorized) before every reason", (_NODE,),
        ("leafgate diagnose HOST:8883",),
    ),
)  # fmt: skip
#: what the Node.js SDK puts before every error of a first connection, a refused port included
_LIE = re.compile(r"failure on first connection\s*\(not authori[sz]ed\)")


def said(text: str) -> list[Saying]:
    """Return the sayings in a text."""
    lowered = _LIE.sub("failure on first connection", text.lower())
    return [one for one in SAYINGS if re.search(one.pattern, lowered)]


def said_around(text: str) -> list[Saying]:
    """Return what stands around a reason that was not pasted, or is not known."""
    return [one for one in OUTER if re.search(one.pattern, text.lower())][:1]
