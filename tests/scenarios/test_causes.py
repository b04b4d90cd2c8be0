"""From what the gateway noticed to the probable cause."""

from __future__ import annotations

import pytest

from certs import Authority, Chain, apply_defects
from gateway.events import ClientConnected, ConnectionRefused, HandshakeFailed
from scenarios import causes
from scenarios.chainplan import trusted

CHAIN = Authority(hostname="gw.test", seed=1).chain()
PEER = "127.0.0.1:4711"


def failed(
    alert: str | None, *, name: str | None = "gw.test", by: str | None = "client", reason: str = ""
) -> HandshakeFailed:
    """A handshake that failed."""
    return HandshakeFailed(0.0, PEER, name, alert, by, reason)


def why(event: HandshakeFailed | ConnectionRefused, chain: Chain = CHAIN) -> str:
    """The probable cause."""
    cause = causes.probable(event, chain)
    assert cause is not None
    return cause.why


@pytest.mark.parametrize(
    ("defect", "alert", "word"),
    [
        ("missing-intermediate", "unknown_ca", "Azure IoT Hub Intermediate Cert Test Only"),
        ("expired-server", "certificate_expired", "expired"),
        ("device-ca-not-ca", "unknown_ca", "CA"),
        ("san-without-hostname", "bad_certificate", "name"),
    ],
)
def test_what_is_wrong_with_the_chain_is_said_first(defect: str, alert: str, word: str) -> None:
    """A cause that the served chain shows is no guess."""
    found = why(failed(alert), apply_defects(CHAIN, [defect]))
    assert word in found
    assert not found.startswith("probably")


def test_alert_about_a_good_chain_is_a_guess_at_the_client() -> None:
    """Nothing is wrong with the chain, so the client's trust, name or clock is; and that is a guess."""
    assert why(failed("unknown_ca")) == "probably the client does not trust the root of this chain"
    assert why(failed("certificate_unknown")).startswith("probably the client refuses the chain without saying why")
    assert why(failed("some_new_alert")).startswith("probably ")


def test_wrong_name_in_the_handshake_is_found_by_the_name_itself() -> None:
    """The client says by SNI which name it uses; the certificate does not have it."""
    assert "other.test" in why(failed("bad_certificate", name="other.test"))


def test_client_that_leaves_without_an_alert_is_not_called_a_refusal() -> None:
    """Without an alert only what happened is known."""
    found = why(failed(None, by=None, reason="the client left after the handshake, without CONNECT"))
    assert found.startswith("the client left after the handshake, without CONNECT; ")


def test_plain_text_on_the_tls_port_is_told_as_such() -> None:
    """OpenSSL's `wrong version number` means that no TLS was spoken."""
    event = failed("protocol_version", by="gateway", reason="wrong version number")
    assert why(event) == "what it sent is not TLS"
    assert why(failed("protocol_version", by="gateway", reason="unsupported protocol")) == "unsupported protocol"


def test_refused_connect_has_the_gateways_own_reason() -> None:
    """After TLS the gateway knows why it refuses."""
    event = ConnectionRefused(0.0, PEER, "press-7", 5, "the token has expired")
    assert why(event) == "the token has expired"
    assert causes.said(event) == "CONNACK 5 (not authorized)"
    assert causes.who(event) == f"{PEER} (press-7)"


def test_connected_client_has_no_cause() -> None:
    """Events that are no refusals have none."""
    assert causes.probable(ClientConnected(0.0, PEER, "a", "TLSv1.3", None), CHAIN) is None


@pytest.mark.parametrize("word", ["same-named-root", "other-root"])
def test_strangers_root_does_not_verify_the_chain(word: str) -> None:
    """What a leaf wrongly trusts differs from the root: in its key, and for another company's also in its name."""
    from certs import load_certificates

    wrong, right = load_certificates(trusted(word, CHAIN))[0], CHAIN.trust[0]
    assert wrong.public_key() != right.public_key()
    assert (wrong.subject == right.subject) is (word == "same-named-root")


@pytest.mark.parametrize(
    ("reason", "code", "fix"),
    [
        ("a fault answers CONNACK 3 instead of 0", 3, "switch the fault off"),
        ("press is not in the scope of this gateway", 5, "register it at this gateway, which has to be its parent"),
        ("press is disabled", 5, "enable it"),
        ("the token has expired", 5, "renew it, and compare the clocks"),
        ("neither token nor certificate was given", 5, "let it send a token as its password, or show a certificate"),
        ("the certificate is a CA certificate", 5, "compare the certificate and its chain with what the device is"),
        ("the signature matches neither the primary nor the secondary key", 5, "copy the connection string again"),
        ("the user name cannot be read: api-version is missing", 3, "build it as the SDKs do"),
    ],
)
def test_refused_connect_comes_with_what_to_do(reason: str, code: int, fix: str) -> None:
    """What the reason calls for comes before what the code alone suggests."""
    cause = causes.probable(ConnectionRefused(0.0, PEER, "press", code, reason), CHAIN)
    assert cause is not None
    assert (cause.why, cause.fix.startswith(fix)) == (reason, True)
