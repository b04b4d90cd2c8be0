"""`openssl s_client` against a gateway, as the documentation of IoT Edge certificate usage shows it."""

import pytest

from gateway.events import HandshakeFailed
from tests.interop.programs import first_event, run, s_client, subjects

pytestmark = pytest.mark.interop

#: the certificate hierarchy at each level, from "Azure IoT Edge certificate usage detail": server first
HIERARCHY = [
    "iotedgegw.local",
    "iotedge workload ca",
    "iotgateway.ca",
    "Azure IoT Hub Intermediate Cert Test Only",
    "Azure IoT Hub CA Cert Test Only",
]


@pytest.fixture
def documented(gateway_factory):
    """A gateway with the names of the documentation's example."""
    return gateway_factory(hostname="iotedgegw.local", device_ca_cn="iotgateway.ca")


def test_s_client_shows_the_five_levels_and_accepts_them(documented):
    """openssl is shown exactly the documented hierarchy, each level issued by the next, and verifies it."""
    seen = s_client(documented.bind, documented.mqtt_port, "iotedgegw.local", documented.root_ca)
    issuers = [*HIERARCHY[1:], HIERARCHY[-1]]
    expected = [(depth, *pair) for depth, pair in enumerate(zip(HIERARCHY, issuers, strict=True))]
    assert subjects(seen.stdout) == expected
    assert "Verify return code: 0 (ok)" in seen.stdout
    assert "Verified peername: iotedgegw.local" in seen.stdout


def test_s_client_refuses_another_name(documented):
    """The same gateway under a name that its certificate does not have: code 62, and no other fault."""
    seen = s_client(documented.bind, documented.mqtt_port, "iotgateway.local", documented.root_ca)
    assert "Verify return code: 62 (hostname mismatch)" in seen.stdout
    assert [name for _, name, _ in subjects(seen.stdout)] == HIERARCHY


def test_s_client_refuses_another_root(documented, gateway_factory):
    """A root of the same name with another key does not help: openssl cannot build the chain."""
    stranger = gateway_factory(hostname="iotedgegw.local", device_ca_cn="iotgateway.ca")
    seen = s_client(documented.bind, documented.mqtt_port, "iotedgegw.local", stranger.root_ca)
    assert "Verify return code: 19 (self-signed certificate in certificate chain)" in seen.stdout


def test_s_client_that_stops_at_a_bad_certificate_is_noted(documented):
    """With -verify_return_error openssl ends the handshake, and the gateway names the alert it was sent."""
    address = f"{documented.bind}:{documented.mqtt_port}"
    seen = run("openssl", "s_client", "-connect", address, "-verify_return_error", "-no-CAfile", "-no-CApath")
    assert "certificate verify failed" in seen.stderr
    failed = first_event(documented, HandshakeFailed)
    assert (failed.sent_by, failed.alert) == ("client", "unknown_ca")
