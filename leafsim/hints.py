"""What to do about a refusal: tables from a code to one sentence.

Sources: OpenSSL's X509_verify_cert_error_string codes, TLS alert names (RFC 8446, section 6), MQTT 3.1.1 table 3.1, and
when Edge Hub uses which CONNACK code (DeviceIdentityProvider.cs and MqttUsernameParser.cs in Azure/iotedge).
"""

from __future__ import annotations

_NO_CA = "a certificate used as CA is none (basicConstraints CA:TRUE is missing): issue the device CA as a CA"
_SHORT_KEY = "a key in the chain is too short for this leaf; issue RSA keys of 2048 bits or more"

VERIFY_HINTS: dict[int, str] = {
    2: "the leaf trusts a certificate in the middle of the chain; let it trust the root",
    7: "a certificate was not signed by the key that it names: a CA was re-created and what is below it was kept",
    9: "compare the clocks of leaf and gateway",
    10: "renew the certificate that expired, and restart the gateway; compare the clocks first",
    18: "the server certificate names itself as its issuer: a self-signed one that is not trusted, or a device CA that "
    "has the gateway's own name (give the device CA another common name, the scripts append .ca)",
    19: "the chain ends in a root that this leaf does not trust: give it the gateway's root certificate (--trust FILE)",
    20: "no trusted certificate issued what the gateway sent: give the leaf the gateway's root (--trust FILE), and let "
    "the gateway send every intermediate",
    21: "the gateway sent its server certificate alone; let its device CA file hold the full chain",
    24: _NO_CA,
    25: "an upper CA allows fewer CAs below it than there are (pathlen); issue it with a larger one or none",
    26: "the server certificate is not meant for servers: its extended key usage lacks serverAuth",
    30: "the certificate names an issuer key that the issuer does not have; re-issue it",
    32: "a certificate used as CA may not sign certificates (keyUsage lacks keyCertSign)",
    62: "GatewayHostName must be a name in the server certificate: use exactly the gateway's configured host name",
    64: "the server certificate has no such IP address; use the gateway's host name in GatewayHostName",
    66: _SHORT_KEY,
    67: _SHORT_KEY,
    68: "a certificate is signed with a digest that this leaf no longer accepts (SHA-1); issue it again",
    79: _NO_CA,  # 24 before OpenSSL 3
}

ALERT_HINTS: dict[str, str] = {
    "protocol_version": "leaf and gateway share no TLS version; allow TLS 1.2 or later on the gateway",
    "handshake_failure": "leaf and gateway share no cipher suite or key type",
    "certificate_required": "the gateway asks for a client certificate; give the leaf one",
    "unrecognized_name": "the gateway does not know the name in GatewayHostName",
    "unknown_ca": "the gateway does not trust the issuer of the leaf's client certificate",
    "bad_certificate": "the gateway rejects the leaf's client certificate",
    "internal_error": "the gateway failed by itself; look at its log",
}

# MQTT 3.1.1, table 3.1
CONNACK_NAMES: dict[int, str] = {
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}

CONNACK_HINTS: dict[int, str] = {
    1: "the gateway speaks MQTT 3.1.1 only",
    2: "the MQTT client id must be DeviceId or DeviceId/ModuleId",
    3: "Edge Hub answers 3 when it cannot read the user name: HUB/DEVICE[/MODULE]/?api-version=...",
    4: "check the key in the connection string; real IoT Hub says 4, Edge Hub says 5",
    5: "check the key, the token's expiry (clock), that the client id equals DeviceId letter by letter, and that the "
    "device exists, is enabled and is a child of this gateway",
}
