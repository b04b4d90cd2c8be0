"""`mosquitto_pub` as a leaf device: nothing but a user name, a SAS token and the root certificate."""

import time

import pytest

from gateway.events import ConnectionRefused, HandshakeFailed
from leafsim import ConnectionString, sas_token
from tests.interop.programs import first_event, mosquitto_pub

pytestmark = pytest.mark.interop

WRONG_KEY = "bGVhZmdhdGUtdGVzdC1rZXktdGhhdC1pcy13cm9uZyE="
NOT_AUTHORISED = 5  # mosquitto_pub leaves with the CONNACK code
TLS_ERROR = (1, 8)  # as the handshake fails while it connects or later (MOSQ_ERR_TLS)


@pytest.fixture
def dev1(gateway):
    """A registered leaf."""
    return gateway.leaf("dev1")


def token(leaf, *, key=None, ttl=3600):
    """A token for a leaf."""
    cs = ConnectionString.parse(leaf.connection_string)
    return sas_token(f"{cs.host_name}/devices/{cs.device_id}", key or cs.shared_access_key, int(time.time() + ttl))


def test_mosquitto_pub_delivers_a_message(dev1):
    """QoS 1 is acknowledged and the message arrives upstream as it was sent."""
    sent = mosquitto_pub(dev1, password=token(dev1), body='{"temperature": 21}')
    assert (sent.returncode, sent.stdout + sent.stderr) == (0, "")
    message = dev1.gateway.upstream.next_message(dev1)
    assert (message.device_id, message.json()) == ("dev1", {"temperature": 21})


def test_mosquitto_pub_with_a_wrong_key_is_not_authorised(dev1):
    """A token signed with another key: CONNACK 5, which mosquitto_pub says and leaves with; nothing arrives."""
    sent = mosquitto_pub(dev1, password=token(dev1, key=WRONG_KEY))
    assert sent.returncode == NOT_AUTHORISED
    assert "Connection Refused: not authorised." in sent.stderr
    refused = first_event(dev1.gateway, ConnectionRefused)
    assert (refused.client_id, refused.code) == ("dev1", NOT_AUTHORISED)
    assert refused.reason == "the signature matches neither the primary nor the secondary key"
    assert dev1.gateway.upstream.messages == ()


def test_mosquitto_pub_with_an_expired_token_is_not_authorised(dev1):
    """Ten minutes after its expiry a token is refused with CONNACK 5."""
    sent = mosquitto_pub(dev1, password=token(dev1, ttl=-600))
    assert sent.returncode == NOT_AUTHORISED
    refused = first_event(dev1.gateway, ConnectionRefused)
    assert (refused.code, refused.reason) == (NOT_AUTHORISED, "the token has expired")


def test_mosquitto_pub_with_another_root_does_not_connect(dev1, gateway_factory):
    """With the root of another gateway mosquitto_pub ends the handshake and says why to the gateway."""
    sent = mosquitto_pub(dev1, password=token(dev1), trust=gateway_factory().root_ca)
    assert sent.returncode in TLS_ERROR
    assert "A TLS error occurred." in sent.stderr
    failed = first_event(dev1.gateway, HandshakeFailed)
    assert (failed.sent_by, failed.alert) == ("client", "unknown_ca")
    assert dev1.gateway.upstream.messages == ()
