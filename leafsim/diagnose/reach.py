"""D: is there a TLS server, and does it take part in a handshake at all?

Rules: everything happens within one deadline. The server is asked again with single TLS versions, each time with every
cipher that OpenSSL has, which tells a version that is missing from a cipher that is; and once as leaves ask by
themselves. No answer is no refusal.
"""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from certs.errors import CaptureError
from certs.findings import Problem

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


def spoken(where: Where) -> tuple[str, ...]:
    """The TLS versions that a server speaks."""
    return tuple(version for version in _VERSIONS if _speaks(where, version))


def of_failure(error: CaptureError, where: Where) -> Problem:
    """Say why no certificate came: D1, or after asking again D2 or D3."""
    if error.cause != "tls":
        cause, fix = _CAUSES[error.cause]
        return Problem("D1", "error", cause, error.message, fix)
    spoken = [version for version in _VERSIONS if _speaks(where, version, _WANTS_CERTIFICATE[:2])]
    if spoken:
        return _versions(spoken, error.message)
    return Problem(
        "D3", "error", "client and gateway have no cipher suite or key type in common",
        f"{error.message}; no TLS version from 1.0 to 1.3 leads further, whatever ciphers are offered",
        "compare the gateway's key type and ciphers with what the leaf offers", like="cipher-ccm8",
    )  # fmt: skip


def of_handshake(where: Where) -> Iterator[Problem]:
    """D2 to D4 where certificates are shown: versions, client certificate, ciphers."""
    new = {version: _speaks(where, version) for version in ("1.2", "1.3")}
    if not any(new.values()):
        old = [version for version in ("1.0", "1.1") if _speaks(where, version)]
        if old and None not in new.values():
            yield _versions(old, "handshakes with TLS 1.2 and 1.3 fail")
        return
    if new["1.2"] is False:
        yield Problem(
            "D2", "warning", "the gateway speaks TLS 1.3 only, which older TLS stacks do not",
            "a handshake with TLS 1.2 fails", "allow TLS 1.2 too; the Azure SDK for Python speaks nothing else",
            like="tls13-only",
        )  # fmt: skip
    refusal = _client_certificate(where)
    if refusal is not None:
        yield refusal
    elif cipher := _odd_cipher(where):
        yield Problem(
            "D3", "error", "the gateway takes no cipher suite that leaves offer by themselves",
            f"it takes {cipher} when every cipher is offered, and sends alert handshake_failure otherwise",
            "allow ECDHE with AES-GCM on the gateway, for its kind of key", like="cipher-rsa-kx",
        )  # fmt: skip


def _versions(spoken: list[str], evidence: str) -> Problem:
    return Problem(
        "D2", "error", f"the gateway speaks TLS {' and '.join(spoken)} only", evidence,
        "allow TLS 1.2 or later on the gateway (SslProtocols), or update the leaf", like="tls10-only",
    )  # fmt: skip


def _client_certificate(where: Where) -> Problem | None:
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
        return Problem(
            "D4", "error", "the gateway turns away who shows no client certificate",
            f"it answers with alert {(refused.reason or '').rpartition('ALERT_')[2].lower()}",
            "give the leaf a client certificate, or let the gateway ask for one without requiring it",
        )  # fmt: skip
    except OSError:
        return None


def _odd_cipher(where: Where) -> str | None:
    """The cipher suite that the gateway takes, when it is none of those that OpenSSL offers by itself."""
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual.check_hostname = False
    usual.verify_mode = ssl.CERT_NONE  # nothing but the answer is used
    try:
        _handshake(where, usual).close()
    except ssl.SSLError as refused:
        if "HANDSHAKE_FAILURE" not in (refused.reason or ""):
            return None
    except OSError:
        return None
    else:
        return None
    try:
        with _handshake(where, _any_context()) as connection:
            return (connection.cipher() or ("an unusual cipher",))[0]
    except OSError:
        return None


def _speaks(where: Where, version: str, refusals: tuple[str, ...] = _WANTS_CERTIFICATE) -> bool | None:
    """Tell whether a handshake with that version gets as far as the server's certificate; None when nobody knows.

    `refusals` are alerts that are about the client's certificate, so that the server's had been shown before.
    """
    context = _any_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = _VERSIONS[version]
    try:
        _handshake(where, context).close()
    except ssl.SSLError as wrong:
        return any(word in (wrong.reason or "") for word in refusals)
    except OSError:
        return None
    return True


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
