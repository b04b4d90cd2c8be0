"""The leaf's side of TLS: what it trusts, and sockets that keep a deadline and remember what went wrong.

Rule: verification is never off. A leaf that trusts nothing has an empty store; the host name is always checked.
The context is built bare, as paho's tls_set() and the device SDKs build theirs: `ssl.create_default_context` adds
X509_STRICT from Python 3.13 on, which real leaves do not have.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

from leafsim.credentials import ClientCertificate
from leafsim.errors import TrustError

#: a file of PEM certificates, "system" for the store of the machine (honours SSL_CERT_FILE), or None for an empty store
Trust = Path | str | None
SYSTEM = "system"

_LEAST = 0.001  # seconds; 0 would mean a socket that does not wait at all


def client_context(trust: Trust, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """Return a context that verifies chain and host name against `trust`; TrustError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED and check_hostname are its defaults
    if trust == SYSTEM:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif trust is not None:
        _load_trust(context, Path(trust))
    if certificate is not None:
        _load_certificate(context, certificate)
    return context


def _load_trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TrustError(
            str(path), f"no certificate to trust in it ({error.reason})", "give the gateway's root certificate as PEM"
        ) from None
    except OSError as error:
        raise TrustError(
            str(path), f"cannot be read ({error.strerror})", "give the path of the gateway's root certificate"
        ) from None


def _load_certificate(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    def no_password() -> str:
        raise TrustError(str(certificate.key), "the private key is encrypted", "give it without a password")

    try:
        context.load_cert_chain(certificate.certificate, certificate.key, no_password)
    except ssl.SSLError as error:
        raise TrustError(
            str(certificate.certificate),
            f"no usable client certificate with {certificate.key} ({error.reason})",
            "give the certificate and the private key that belongs to it, PEM both",
        ) from None
    except OSError as error:
        path = error.filename or certificate.certificate
        raise TrustError(str(path), f"cannot be read ({error.strerror})", "give a file that exists") from None


def watch(context: ssl.SSLContext, deadline: float) -> list[ssl.SSLError]:
    """Let the context's sockets keep a deadline, close when the handshake fails, and collect errors met afterwards.

    `deadline` is one of time.monotonic(). With TLS 1.3 the gateway's refusal of a client certificate arrives on the
    first read; paho would reduce it to "connection lost".
    """
    seen: list[ssl.SSLError] = []

    class Watched(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            self.settimeout(max(_LEAST, deadline - time.monotonic()))
            try:
                super().do_handshake(block)
            except BaseException:
                self.close()
                raise

        def recv(self, *arguments: Any) -> bytes:
            try:
                return super().recv(*arguments)
            except ssl.SSLError as error:
                _keep(error, seen)
                raise

        def send(self, *arguments: Any) -> int:
            try:
                return super().send(*arguments)
            except ssl.SSLError as error:
                _keep(error, seen)
                raise

    context.sslsocket_class = Watched
    return seen


def _keep(error: ssl.SSLError, seen: list[ssl.SSLError]) -> None:
    if not isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        seen.append(error)
