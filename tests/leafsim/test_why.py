"""From an error message to its causes."""

import pytest

from certs.headlines import CAUSES, rule_of
from certs.outcomes import outcomes
from leafsim.why import why


def rules(text):
    """The rules behind a message, the most frequent first."""
    return [one.rule for one in why(text)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("certificate verify failed: unable to get local issuer certificate (_ssl.c:1129)", "T1"),
        ("Error: unable to verify the first certificate", "T1"),
        ("certificate verify failed: certificate has expired (_ssl.c:992)", "E1"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'edge1.plant.lan'.", "N4"),
        ("IP address mismatch, certificate is not valid for '192.168.7.20'.", "N1"),
        ("x509: certificate signed by unknown authority", "T1"),
        ("DEPTH_ZERO_SELF_SIGNED_CERT self signed certificate", "T1"),
        ("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
         "Missing Authority Key Identifier (_ssl.c:1032)", "W4"),
        ("Connection Not Accepted: 0x5: Not Authorized", "M6"),
        ("azure.iot.device.exceptions.CredentialError: Credentials invalid, could not connect", "M6"),
        ("connect ECONNREFUSED 10.0.0.4:8883", "D1"),
        ("getaddrinfo ENOTFOUND edge1", "D1"),
    ],
)  # fmt: skip
def test_message_is_explained(text, first):
    """Numbers, names and addresses do not matter."""
    assert rules(text)[0] == first


def test_whole_traceback_is_explained_by_its_innermost_line():
    """People paste everything they have."""
    text = """Traceback (most recent call last):
      File "/usr/lib/python3.11/site-packages/azure/iot/device/common/mqtt_transport.py", line 396, in connect
        rc = self._mqtt_client.connect(host=self._hostname, port=8883, keepalive=self._keep_alive)
      File "/usr/lib/python3.11/ssl.py", line 1346, in do_handshake
        self._sslobj.do_handshake()
    ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: invalid CA certificate
    The above exception was the direct cause of TlsExchangeAuthError"""
    assert rules(text)[0] == "A1"


def test_longer_message_is_not_taken_for_the_shorter_one_in_it():
    """`self-signed certificate in certificate chain` is not `self-signed certificate`."""
    assert "L4" in rules("certificate verify failed: self-signed certificate (_ssl.c:1006)")
    assert "L4" not in rules("certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)")


def test_each_cause_can_be_reproduced_and_names_its_stacks():
    """A command to copy, and who says it."""
    for one in why("certificate verify failed: certificate has expired"):
        assert one.reproduce[0].startswith("leafgate matrix expired-")
        assert any("Python" in stack for stack in one.stacks)


@pytest.mark.parametrize("text", ["", "kaputt", "error", "the quick brown fox jumps over the lazy dog"])
def test_unknown_message_has_no_causes(text):
    """Nothing is guessed."""
    assert why(text) == []


@pytest.mark.parametrize(
    "stack", ["python-ssl", "paho", "s_client-3.0", "node20-ossl3", "go1.27", "java17", "gnutls-cli"]
)
def test_every_measured_message_leads_back_to_its_cause(stack):
    """Whoever pastes what a stack said to a chain finds that chain's cause among the answers."""
    for name, row in outcomes().items():
        if stack in row.refused and rule_of(name) in CAUSES:
            assert rule_of(name) in rules(row.refused[stack].message), name
