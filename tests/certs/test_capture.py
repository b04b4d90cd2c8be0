"""Fetching what a port really serves."""

import socket
import ssl
import threading
from contextlib import contextmanager

import pytest

from certs import Authority, CertsError, apply_defects, serial_of
from certs.capture import capture, parse_address
from certs.errors import CaptureError


@contextmanager
def listening(handle):
    """A port on loopback whose first connection `handle` gets."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)  # a test that fails before it connects must not hang

    def serve():
        connection, _ = listener.accept()
        with connection:
            handle(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(10)
        listener.close()


def tls(chain, tmp_path, **settings):
    """A handler that serves this chain."""
    pem = tmp_path / "served.pem"
    pem.write_bytes(chain.sent_pem + chain.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    for name, value in settings.items():
        setattr(context, name, value)

    def handle(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass  # the client has what it wanted

    return handle


@pytest.mark.parametrize("defects", [[], ["missing-intermediate"], ["wrong-order"], ["duplicate-certificate"]])
@pytest.mark.parametrize("generation", ["documented", "1.2"])
def test_capture_returns_exactly_what_is_sent(generation, defects, tmp_path):
    """Order, duplicates and gaps arrive as they are, from a chain that nobody here trusts."""
    chain = apply_defects(Authority(hostname="gw.test", generation=generation, key="ec").chain(), defects)
    with listening(tls(chain, tmp_path)) as port:
        assert tuple(capture("127.0.0.1", port, server_name="gw.test")) == chain.sent


def test_capture_reads_serial_zero(tmp_path):
    """A certificate with serial number 0 is captured without a warning."""
    chain = Authority(hostname="gw.test", generation="1.2", key="ec").chain()
    with listening(tls(chain, tmp_path)) as port:
        assert serial_of(capture("127.0.0.1", port)[0]) == serial_of(chain.server.certificate) == 0


def test_capture_from_a_server_that_wants_a_client_certificate(tmp_path):
    """The chain has arrived before the server misses the client's certificate."""
    chain = Authority(hostname="gw.test").chain()
    version = ssl.TLSVersion.TLSv1_2
    with listening(tls(chain, tmp_path, verify_mode=ssl.CERT_REQUIRED, maximum_version=version)) as port:
        assert tuple(capture("127.0.0.1", port)) == chain.sent


def plain_text(connection):
    """Answer as a plain-text server."""
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(4096)


def closing(connection):
    """Close after the first byte, as a plain MQTT broker does."""
    connection.recv(4096)


def silent(connection):
    """Say nothing until the client gives up."""
    while connection.recv(4096):
        pass


@pytest.mark.parametrize(
    ("handle", "cause"),
    [(plain_text, "plain"), (closing, "closed"), (silent, "silence")],
    ids=["plain", "closed", "silence"],
)
def test_port_without_tls_is_told(handle, cause):
    """Plain text, an immediate end and silence are told apart, each with a hint."""
    with listening(handle) as port, pytest.raises(CaptureError) as refused:
        capture("127.0.0.1", port, timeout=0.3)
    assert refused.value.cause == cause
    assert str(port) in refused.value.message
    assert refused.value.hint
    assert refused.value.exit_code == 3


def test_closed_port_is_told():
    """Nothing listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CaptureError) as refused:
        capture("127.0.0.1", port)
    assert refused.value.cause == "refused"


def test_name_that_does_not_resolve_is_told(monkeypatch):
    """A name that nobody knows, and one with an empty label that cannot even be asked for."""

    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(CaptureError) as malformed:
        capture("gateway..test", 8883)
    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(CaptureError) as refused:
        capture("gateway.test", 8883)
    assert malformed.value.cause == refused.value.cause == "name"


@pytest.mark.parametrize(
    ("text", "address"),
    [("gw:443", ("gw", 443)), ("gw", ("gw", 8883)), ("[::1]:443", ("::1", 443)), ("fe80::1", ("fe80::1", 8883))],
)
def test_address_is_read(text, address):
    """HOST:PORT, HOST alone and IPv6 in brackets or bare."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["gw:", "gw:mqtt", "gw:0", "gw:70000", ":8883", ""])
def test_wrong_address_is_told(text):
    """An address that cannot be is a usage error with an example."""
    with pytest.raises(CertsError) as refused:
        parse_address(text)
    assert ":8883" in refused.value.hint


@pytest.mark.parametrize("name", ["gw..x", "x" * 64, "\u00e4" * 70, "gw\0"])
def test_name_that_cannot_be_asked_for_is_told(name):
    """A usage error, and no exception of a codec."""
    with listening(lambda connection: connection.recv(1)) as port, pytest.raises(CertsError, match="is no host name"):
        capture("127.0.0.1", port, server_name=name)
