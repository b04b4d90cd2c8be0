"""Ports: bound and reachable, and what answers there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.check.model import Status
from scenarios.check.subject import AMQP, HTTPS, MQTT, Configured
from tests.scenarios.check.conftest import Served, authority, findings, outcomes, subject


@pytest.fixture
def closed() -> int:
    """A port where nothing listens: it belongs to a socket that does not listen, so nobody takes it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def plain() -> Iterator[int]:
    """A port that answers in plain text."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    with listener.accept()[0] as peer:
                        peer.recv(1024)
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_mqtt_port_that_nobody_listens_on_is_the_one_error(closed: int, tmp_path: Path) -> None:
    """Edge Hub does not run: that is told once, and what needs its certificate is skipped with the reason."""
    trust = tmp_path / "root.pem"
    trust.write_bytes(authority().chain().trust_pem)
    found = outcomes(subject(heads={MQTT: ("127.0.0.1", closed)}, trust=trust))
    assert [name for name, one in found.items() if one.status is Status.ERROR] == ["edge-hub-port-mqtt"]
    assert "cannot connect (connection refused)" in found["edge-hub-port-mqtt"].details[0]
    assert "is Edge Hub running" in found["edge-hub-port-mqtt"].details[0]
    assert found["edge-hub-trust"].reason == "Edge Hub showed no certificate, see edge-hub-port-mqtt"


def test_port_that_speaks_plain_text_is_an_error(plain: int) -> None:
    """The port is bound, but what listens there does not speak TLS."""
    found = findings(subject(heads={MQTT: ("127.0.0.1", plain)}), Status.ERROR)
    assert "it speaks, but not TLS" in found["edge-hub-port-mqtt"][0]


def test_name_that_does_not_resolve_is_an_error() -> None:
    """The name that leaves use leads nowhere."""
    found = findings(subject(heads={MQTT: ("no-such-name.invalid", 8883)}), Status.ERROR)
    assert "does not resolve" in found["edge-hub-port-mqtt"][0]


@pytest.mark.parametrize("protocol", [HTTPS, AMQP])
def test_other_port_that_nobody_listens_on_is_a_warning(closed: int, protocol: str) -> None:
    """Without it only the leaves that use it stay outside; the message says how to publish it."""
    found = outcomes(subject(heads={protocol: ("127.0.0.1", closed)}))[f"edge-hub-port-{protocol}"]
    assert found.status is Status.WARNING
    assert "connection refused" in found.details[0]
    assert "HostConfig.PortBindings" in found.details[0]


def test_ports_of_a_running_gateway_are_ok(served: Served) -> None:
    """Its MQTT port and its HTTPS port are reached."""
    found = outcomes(served.subject())
    assert found["edge-hub-port-mqtt"].status is found["edge-hub-port-https"].status is Status.OK
    assert found["edge-hub-port-https"].facts == {"address": f"127.0.0.1:{served.gateway.https_port}"}


def test_hub_whose_certificate_this_machine_trusts_is_ok(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake with the hub is made with the machine's store, as the product does."""
    served.serve(authority(hostname="localhost").chain())
    trust = served.folder / "store.pem"
    trust.write_bytes(served.gateway.chain.trust_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(trust))
    hub = {MQTT: ("localhost", served.gateway.mqtt_port)}
    assert outcomes(subject(hub=hub))["host-connect-iothub-mqtt"].status is Status.OK


def test_hub_whose_certificate_this_machine_does_not_trust_is_an_error(served: Served) -> None:
    """The twin: with the store as it is the handshake fails, in the product's words, and a parent gets its hint."""
    served.serve(authority(hostname="localhost").chain())
    hub = {MQTT: ("localhost", served.gateway.mqtt_port)}
    [message] = findings(subject(hub=hub), Status.ERROR)["host-connect-iothub-mqtt"]
    assert message == f"Could not connect to localhost:{served.gateway.mqtt_port} : could not complete TLS handshake"
    nested = subject(Configured(hostname="gw", parent_hostname="localhost"), hub=hub)
    [message] = findings(nested, Status.ERROR)["host-connect-iothub-mqtt"]
    assert "the parent gateway's root must be in this machine's store" in message


def test_hub_port_that_nobody_listens_on_is_an_error(closed: int) -> None:
    """The port is named with its reason."""
    found = findings(subject(hub={AMQP: ("127.0.0.1", closed)}), Status.ERROR)
    assert found["host-connect-iothub-amqp"] == [f"Could not connect to 127.0.0.1:{closed} : connection refused"]


def test_hub_elsewhere_is_skipped_with_the_reason() -> None:
    """No traffic leaves this machine unasked."""
    reason = "hub.azure-devices.net is not on this machine"
    found = outcomes(subject(hub=dict.fromkeys((MQTT, HTTPS, AMQP), reason)))
    for protocol in (MQTT, HTTPS, AMQP):
        outcome = found[f"host-connect-iothub-{protocol}"]
        assert (outcome.status, outcome.reason) == (Status.SKIPPED, reason)
