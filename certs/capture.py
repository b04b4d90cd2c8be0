"""Fetch the certificates that HOST:PORT really serves, whatever they are worth.

Rule: nothing is verified here and nothing but the certificates is used: this looks at a chain, it never trusts it.
pyOpenSSL, because the standard library shows the whole chain only from Python 3.13 on.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

from cryptography import x509
from OpenSSL import SSL, crypto

from certs.errors import CaptureError, CertsError
from certs.names import is_ip
from certs.x509io import load_certificate

_NO_ANSWER = "is Edge Hub running, and does the port speak TLS? (8883 MQTT, 443 HTTPS, 5671 AMQP)"
_MALFORMED = "look at it with: openssl s_client -showcerts"
_CLOSED = "it closed the connection without showing a certificate"
_PLAIN = "use a TLS port: 8883 for MQTT, 443 for HTTPS, 5671 for AMQP"


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, [IPv6]:PORT or HOST (then port 8883)."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, "8883"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise CertsError(f"{text!r} is not HOST:PORT", "write gw.factory.test:8883 or [fe80::1]:8883")
    return host.strip("[]"), int(port)


def capture(host: str, port: int, *, server_name: str | None = None, timeout: float = 10) -> list[x509.Certificate]:
    """Return what the server sends, in its order; CaptureError says why nothing came.

    `server_name` is what the handshake asks for (SNI), the host by default. `timeout` covers everything.
    """
    address = f"{host}:{port}"
    deadline = time.monotonic() + timeout
    with _connected(host, port, deadline) as plain:
        connection = SSL.Connection(_context(), plain)
        asked = server_name or host
        if not is_ip(asked):
            connection.set_tlsext_host_name(_sni(asked))
        connection.set_connect_state()
        plain.setblocking(False)
        _shake_hands(connection, plain, address, deadline)
        try:
            return [load_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, one)) for one in _chain(connection)]
        except ValueError as error:
            raise CaptureError(
                address, "damaged", f"it sent a certificate that cannot be read ({error})", _MALFORMED
            ) from None


def _sni(name: str) -> bytes:
    try:
        encoded = name.encode("idna")
    except UnicodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise CertsError(f"{name!r} is no host name", "write a name such as gw.factory.test")
    return encoded


@contextlib.contextmanager
def _connected(host: str, port: int, deadline: float) -> Iterator[socket.socket]:
    address = f"{host}:{port}"
    try:
        plain = socket.create_connection((host, port), timeout=max(0.01, deadline - time.monotonic()))
    except (socket.gaierror, UnicodeError):
        raise CaptureError(
            address, "name", f"the name {host!r} does not resolve", "give the IP address, and the name with --name"
        ) from None
    except TimeoutError:
        raise CaptureError(address, "silence", "no answer", "check address, port and firewall") from None
    except ConnectionResetError:  # it can overtake the end of connect()
        raise CaptureError(address, "closed", _CLOSED, _PLAIN) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CaptureError(address, "refused", f"cannot connect ({reason})", _NO_ANSWER) from None
    with plain:
        yield plain


def _context() -> SSL.Context:
    """Take whatever a server has to offer: TLS 1.0 and later, any key length, no verification."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_verify(SSL.VERIFY_NONE)
    return context


def _shake_hands(connection: SSL.Connection, plain: socket.socket, address: str, deadline: float) -> None:
    """Drive the handshake until the certificates are there; a failure after that does not matter."""
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            _wait(plain, address, deadline, reading=True)
        except SSL.WantWriteError:
            _wait(plain, address, deadline, reading=False)
        except (SSL.Error, OSError) as error:
            if _chain(connection):
                return  # the server wanted a client certificate, say
            raise _failure(error, address) from None
        else:
            return


def _wait(plain: socket.socket, address: str, deadline: float, *, reading: bool) -> None:
    left = deadline - time.monotonic()
    watched: tuple[list[socket.socket], list[socket.socket]] = ([plain], []) if reading else ([], [plain])
    if left <= 0 or not any(select.select(*watched, [], left)):
        raise CaptureError(address, "silence", "connected, but no TLS answer came", _NO_ANSWER)


def _failure(error: Exception, address: str) -> CaptureError:
    """Say why a handshake broke before any certificate came."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = ", ".join(str(reason[-1]) for reason in reasons if reason)
    if any(
        sign in words for sign in ("wrong version number", "packet length too long", "http request", "record layer")
    ):
        return CaptureError(address, "plain", "it speaks, but not TLS: a plain-text port", _PLAIN)
    if not words or "unexpected eof" in words:
        return CaptureError(address, "closed", _CLOSED, _PLAIN)
    return CaptureError(address, "tls", f"the TLS handshake failed ({words})", "compare TLS versions and ciphers")


def _chain(connection: SSL.Connection) -> list[crypto.X509]:
    return list(connection.get_peer_cert_chain() or ())
