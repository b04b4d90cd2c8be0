"""From an error message to its causes."""

from importlib.resources import files
from itertools import pairwise

import pytest

from certs import DEFECTS
from certs.headlines import CAUSES, rule_of, why_refused
from certs.outcomes import MEASURED_STACKS, outcomes
from certs.recipes import RECIPES
from leafsim.sayings import OUTER, SAYINGS
from leafsim.why import why

#: text -> rules; as azure-iot-device for Python and Node.js, the SDKs for C and .NET, and paho-mqtt write them
_SDKS = [
    ("ProtocolClientError: Connection Refused: unacceptable protocol version.", ["M5"]),
    ("ProtocolClientError: Connection Refused: identifier rejected.", ["M5"]),
    ("ConnectionFailedError: Connection Refused: broker unavailable.", ["M5"]),
    ("UnauthorizedError: Connection Refused: bad user name or password.", ["M5"]),
    ("UnauthorizedError: Connection Refused: not authorised.", ["M6"]),
    ("UnauthorizedException: CONNECT failed: RefusedNotAuthorized", ["M6"]),
    ("Connection Not Accepted: 0x3: Server Unavailable", ["M5"]),
    ("Connected with result code rc=5", ["M6"]),
    ("OperationTimeout: Transport timeout on connection operation", ["M7"]),
    ("ConnectionResetError: [Errno 104] Connection reset by peer", ["D1"]),
    ("ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:1007)", ["D1", "D4", "D2"]),
    ("TypeError: cadata should be an ASCII string or a bytes-like object", ["F1"]),
    ("ClientError: Error in the IoTHub client due to TLS exchanges.", ["T1"]),
    ("ConnectionFailedError: Could not connect to IoTHub", ["D1"]),
    ("[Errno 113] No route to host", ["D1"]),
]
_GATEWAY = [
    ("Device scope not found for press-7. Parent-child relationship is not set.", ["M6"]),
    ("Unable to generate identity for clientId press-7 and username", ["M5"]),
    ("SSL routines::no shared cipher", ["D3"]),
    ("tlsv1 alert unknown ca", ["T1"]),
    ("sslv3 alert bad certificate", ["N4"]),
]


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
    """Commands to copy, who says it, and what tells it from other causes."""
    (expired,) = why("certificate verify failed: certificate has expired")
    assert expired.reproduce == (
        "leafgate run tls/expired-server-certificate",
        "leafgate matrix expired-wl",
        "leafgate up --defect expired-workload-ca",
    )
    assert any("Python" in stack for stack in expired.stacks)
    assert expired.tell


def test_commands_that_reproduce_exist():
    """Scenarios are in the library, rows in the table, defects and faults in their catalogues."""
    told = {command for rule in CAUSES for one in why(_example(rule)) for command in one.reproduce}
    told |= {command for saying in (*SAYINGS, *OUTER) for command in saying.see}
    library = files("scenarios") / "library"
    for words in map(str.split, told):
        if words[1] == "run":
            assert (library / f"{words[2]}.scenario.yaml").is_file(), words
        if words[1] == "matrix":
            assert words[2] in RECIPES
        for option, value in pairwise(words):
            assert option != "--defect" or value in DEFECTS
    assert {words.split()[1] for words in told} == {"run", "matrix", "up", "diagnose", "certs"}


def _example(rule):
    """What some stack says to a chain with that cause."""
    rows = (row for name, row in outcomes().items() if row.refused and rule_of(name) == rule)
    return next((refusal.message for row in rows for refusal in row.refused.values()), "")


@pytest.mark.parametrize("text", ["", "kaputt", "error", "the quick brown fox jumps over the lazy dog"])
def test_unknown_message_has_no_causes(text):
    """Nothing is guessed."""
    assert why(text) == []


#: answers that are no words: numbers alone, and nothing within the time
_SPEECHLESS = {"296 (alert/other)", "326 (alert/other)", "rc=-13", "TIMEOUT"}


@pytest.mark.parametrize("stack", [one.key for one in MEASURED_STACKS.values()])
def test_every_measured_message_leads_back_to_its_cause(stack):
    """Whoever pastes what any stack said to any chain finds that chain's cause among the answers."""
    for name, row in outcomes().items():
        refusal = row.refused.get(stack)
        if refusal and refusal.message not in _SPEECHLESS and why_refused(name, stack):
            found = [one for one in why(refusal.message) if one.rule == why_refused(name, stack)]
            assert found, (name, refusal.message)


def test_first_connection_of_nodejs_is_not_taken_at_its_word():
    """It writes (Not authorized) before every reason; the words behind the colon count."""
    prefix = "mqtt.js returned Failure on first connection (Not authorized): "
    assert rules(f"{prefix}connect ECONNREFUSED 127.0.0.1:8883 error") == ["D1"]
    assert rules(f"{prefix}Connection refused: Server unavailable error") == ["M5"]
    assert rules(f"{prefix}Connection refused: Not authorized error") == ["M6"]
    assert rules(f"{prefix}certificate has expired error") == ["E1"]
    assert rules(prefix) == ["D1"]


@pytest.mark.parametrize("words", [*_SDKS, *_GATEWAY], ids=lambda pair: pair[0][:40])
def test_words_beyond_tls_are_explained(words):
    """CONNACK codes and closed connections as SDKs put them, and what the gateway's log says."""
    text, expected = words
    assert rules(text) == expected


def test_log_of_thousands_of_lines_is_read_from_its_end():
    """And in a moment, whatever is in it."""
    noise = "2026-11-23T10:00:00Z [inf] device press-7 sent 1200 bytes to 10.0.0.4:8883\n" * 20_000
    assert rules(noise + "ssl.SSLCertVerificationError: certificate verify failed: certificate has expired") == ["E1"]
