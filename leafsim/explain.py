"""What an exception met while connecting means: who refused, with which code, or why nobody was reached."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from leafsim.errors import LeafError, TlsRefused, Unreachable

_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(?P<name>[A-Z0-9_]+)")
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")


def explain(error: Exception, phase: str, where: str, seconds: float) -> LeafError:
    """Say what an exception means that came up while connecting; `phase` is "tcp" or "tls"."""
    if phase == "tls" or isinstance(error, ConnectionResetError):  # a reset can overtake the end of connect()
        return _explain_handshake(error, where, seconds)
    way_out = "check the name, add it to the hosts file, or use --connect-to NAME:PORT:ADDRESS:PORT"
    if isinstance(error, socket.gaierror | ValueError):  # too long a label is a UnicodeError, thus a ValueError
        return Unreachable(where, "name", "tcp", "the name does not resolve", way_out)
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(where, "refused", "tcp", "connection refused", "wrong port, or the gateway is not started")
    if isinstance(error, TimeoutError):
        return Unreachable(where, "timeout", "tcp", f"no answer within {seconds:g} s", f"a firewall, or {way_out}")
    return Unreachable(where, "network", "tcp", _words(error), "look at the network between leaf and gateway")


def _explain_handshake(error: Exception, where: str, seconds: float) -> LeafError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsRefused(error.verify_message, verify_code=error.verify_code, verify_message=error.verify_message)
    if isinstance(error, TimeoutError):
        return Unreachable(
            where, "timeout", "tls", f"no answer to the TLS handshake within {seconds:g} s", "does this port speak TLS?"
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError) or _is_gone(error):
        return TlsRefused("the gateway closed the connection during the handshake", eof=True)
    if isinstance(error, ssl.SSLError):
        return _explain_tls(error)
    return Unreachable(where, "network", "tls", _words(error), "look at the network between leaf and gateway")


def _explain_tls(error: ssl.SSLError) -> TlsRefused:
    alert = alert_name(error)
    if alert:
        return TlsRefused(f"the gateway sent alert {alert}", alert=alert)
    if error.reason in _NO_TLS:
        return TlsRefused(f"what answers does not speak TLS ({error.reason.lower()})")
    return TlsRefused((error.reason or str(error)).replace("_", " ").lower())


def alert_name(error: ssl.SSLError) -> str | None:
    """Return the name of the alert that the other side sent, as RFC 8446 spells it."""
    found = _ALERT.fullmatch(error.reason or "")
    return found["name"].lower() if found else None


def _is_gone(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOTCONN


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
