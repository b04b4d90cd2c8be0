"""D: is there a TLS server, and does it take part in a handshake at all?

Rules: everything happens within one deadline. A server that refuses is asked again once for each TLS version, and once
with every cipher that OpenSSL has, which tells a version that is missing from a cipher that is.
"""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from typing import NamedTuple

from certs.errors import CaptureError
from leafsim.diagnose.report import Finding

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_LEAST = 0.05  # seconds that one attempt gets even when the deadline is near
_REPLY = 0.05  # how long a refusal of the client's side may take beyond four times the handshake
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE")
_CAUSES = {
    "name": ("the gateway's name does not resolve", "add it to DNS or the hosts file, or give the IP address"),
    "refused": (
        "nothing listens there",
        "start Edge Hub, check the port (8883 MQTT, 443 HTTPS, 5671 AMQP) and firewall",
    ),
    "silence": ("nothing answers", "check address, port and firewall; is it a TLS port?"),
    "closed": (
        "it closes the connection without showing a certificate",
        "look at the gateway's log; is it a TLS port? (8883, not 1883)",
    ),
    "plain": ("it does not speak TLS", "use the TLS port: 8883 for MQTT (1883 is plain text)"),
    "damaged": ("it sends a certificate that cannot be read", "look at it with: openssl s_client -showcerts"),
}


class Where(NamedTuple):
    """Whom to ask, under which name, and until when (`time.monotonic`)."""

    host: str
    port: int
    name: str
    deadline: float


def of_failure(error: CaptureError, where: Where) -> Finding:
    """Say why no certificate came: D1, or after asking again D2 or D3."""
    if error.cause != "tls":
        cause, fix = _CAUSES[error.cause]
        return Finding(rule="D1", severity="error", cause=cause, evidence=error.message, fix=fix)
    spoken = [version for version in _VERSIONS if _speaks(where, version, _WANTS_CERTIFICATE[:2])]
    if not spoken:
        return Finding(
            rule="D3",
            severity="error",
            cause="client and gateway have no cipher suite or key type in common",
            evidence=f"{error.message}; no TLS version from 1.0 to 1.3 leads further",
            fix="compare the gateway's key type and ciphers with what the leaf offers",
        )
    return Finding(
        rule="D2",
        severity="error",
        cause=f"the gateway speaks TLS {' and '.join(spoken)} only",
        evidence=error.message,
        fix="allow TLS 1.2 or later on the gateway (SslProtocols), or update the leaf",
    )


def of_versions(where: Where) -> Finding | None:
    """D2 again: certificates are shown, but in no TLS version that today's leaves take by themselves."""
    if _speaks(where, "1.2") or _speaks(where, "1.3"):
        return None
    spoken = [version for version in ("1.0", "1.1") if _speaks(where, version)]
    return Finding(
        rule="D2",
        severity="error",
        cause=f"the gateway speaks TLS {' and '.join(spoken) or 'before 1.2'} only",
        evidence="handshakes with TLS 1.2 and 1.3 fail",
        fix="allow TLS 1.2 or later on the gateway (SslProtocols)",
    )


def of_client_certificate(where: Where) -> Finding | None:
    """D4: does it turn away who shows no certificate? In TLS 1.3 the refusal comes after the handshake."""
    start = time.monotonic()
    try:
        with _handshake(where, _any_context()) as connection:
            connection.settimeout(_REPLY + 4 * (time.monotonic() - start))
            connection.recv(1)
            return None
    except ssl.SSLError as refused:
        if not any(word in (refused.reason or "") for word in _WANTS_CERTIFICATE):
            return None
        return Finding(
            rule="D4",
            severity="error",
            cause="the gateway turns away who shows no client certificate",
            evidence=f"it answers with alert {(refused.reason or '').rpartition('ALERT_')[2].lower()}",
            fix="give the leaf a client certificate, or let the gateway ask for one without requiring it",
        )
    except OSError:
        return None


def _speaks(where: Where, version: str, refusals: tuple[str, ...] = _WANTS_CERTIFICATE) -> bool:
    """Tell whether a handshake with that version gets as far as the server's certificate."""
    context = _any_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = _VERSIONS[version]
    try:
        with _handshake(where, context):
            return True
    except ssl.SSLError as wrong:
        return any(word in (wrong.reason or "") for word in refusals)
    except OSError:
        return False


def _any_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing but the answer is used
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _handshake(where: Where, context: ssl.SSLContext) -> ssl.SSLSocket:
    left = max(_LEAST, where.deadline - time.monotonic())
    with socket.create_connection((where.host, where.port), left) as plain:
        connection = context.wrap_socket(plain, server_hostname=where.name, do_handshake_on_connect=False)
    try:
        connection.do_handshake()
    except BaseException:
        connection.close()
        raise
    return connection
