"""What an exception met while connecting means, for those that no server can be made to cause at will."""

import errno
import ssl

import pytest

from leafsim import TlsRefused, Unreachable
from leafsim.explain import alert_name, explain


def _ssl_error(reason):
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "protocol_version"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake_failure"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate_required"),
        ("TLSV1_UNRECOGNIZED_NAME", "unrecognized_name"),
        ("CERTIFICATE_VERIFY_FAILED", None),
        (None, None),
    ],
)
def test_alert_name_from_the_reason_of_openssl(reason, alert):
    """OpenSSL's names for alerts received become RFC 8446's; other reasons are no alerts."""
    assert alert_name(_ssl_error(reason)) == alert


def test_alert_comes_with_a_hint():
    """A version that is not shared is explained."""
    found = explain(_ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), "tls", "gw:8883", 1)
    assert (found.alert, found.by) == ("protocol_version", "gateway")
    assert "TLS 1.2" in found.hint


def test_other_tls_error_is_given_in_words():
    """A reason without a rule of its own is given as OpenSSL has it."""
    found = explain(_ssl_error("BAD_RECORD_TYPE"), "tls", "gw:8883", 1)
    assert isinstance(found, TlsRefused)
    assert (found.detail, found.by) == ("bad record type", "leaf")


@pytest.mark.parametrize("phase", ["tcp", "tls"])
def test_reset_is_the_gateway_closing(phase):
    """A reset that overtakes the end of connect() is still the gateway closing an accepted connection."""
    assert explain(ConnectionResetError(errno.ECONNRESET, "reset"), phase, "gw:8883", 1).eof


def test_peer_gone_before_the_handshake_begins():
    """A socket that is no longer connected when TLS begins was closed by the gateway."""
    assert explain(OSError(errno.ENOTCONN, "not connected"), "tls", "gw:8883", 1).eof


@pytest.mark.parametrize("phase", ["tcp", "tls"])
def test_network_trouble(phase):
    """What is nobody's refusal is a matter of the network, with the system's words."""
    found = explain(OSError(errno.EHOSTUNREACH, "No route to host"), phase, "gw:8883", 1)
    assert isinstance(found, Unreachable)
    assert (found.cause, found.phase, found.detail) == ("network", phase, "No route to host")
