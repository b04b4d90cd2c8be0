"""Outcomes as JSON."""

import json

import pytest

from leafsim import (
    ConnackRefused,
    ConnectionStringError,
    Disconnected,
    LeafError,
    NotAcknowledged,
    TlsRefused,
    TrustError,
    Unreachable,
)
from leafsim.outcome import as_json, from_json

ERRORS = [
    TlsRefused("certificate has expired", verify_code=10, verify_message="certificate has expired"),
    TlsRefused("the gateway sent alert unknown_ca", alert="unknown_ca"),
    TlsRefused("closed", eof=True),
    ConnackRefused(5),
    Unreachable("gw:8883", "refused", "tcp", "connection refused", "start it"),
    Disconnected("the gateway closed the connection", "look at its log"),
    NotAcknowledged("a message", 2.0),
    TrustError("root.pem", "cannot be read", "give a file"),
    ConnectionStringError("missing", "DeviceId", "DeviceId is missing", "add it"),
    LeafError("something else", "do this"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error.message[:12]}")
def test_error_survives_json(error):
    """An error that was JSON is the same error again, with every field, its message and its hint."""
    again = from_json(json.loads(json.dumps(as_json(error))))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert again.exit_code == error.exit_code


def test_every_error_of_the_package_has_a_word():
    """No public error is reduced to "error"."""
    words = {as_json(error)["outcome"] for error in ERRORS if type(error) is not LeafError}
    assert words == {
        "tls-refused",
        "connack-refused",
        "unreachable",
        "disconnected",
        "not-acknowledged",
        "trust",
        "connection-string",
    }


def test_success_carries_facts():
    """Success is "connected" with what else is known."""
    assert as_json(None, tls="TLSv1.3") == {"version": 1, "outcome": "connected", "tls": "TLSv1.3"}
    assert from_json({"outcome": "connected"}) is None
