"""Fixtures: a chain, its root in a file, servers that serve it, and devices that reach them."""

import base64
import threading

import pytest

from certs import Authority, FreshKeys
from leafsim import ConnectionString, Device
from tests.leafsim.responder import Responder

NAME = "gw.factory.test"
KEY = base64.b64encode(b"a device key of thirty-two bytes").decode()
STRING = f"HostName=hub.leafgate.test;DeviceId=press-7;SharedAccessKey={KEY};GatewayHostName={NAME}"


@pytest.fixture(scope="session")
def authority():
    """The authority behind `chain`."""
    return Authority(hostname=NAME, ip_san=["127.0.0.1"], keys=FreshKeys())


@pytest.fixture(scope="session")
def chain(authority):
    """The article's five levels for gw.factory.test."""
    return authority.chain()


@pytest.fixture
def pem(tmp_path):
    """Write PEM bytes to a file; returns its path."""

    def write(content: bytes, name="root.pem"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def root(chain, pem):
    """The file that a well configured leaf trusts."""
    return pem(chain.trust_pem)


@pytest.fixture
def serve(chain):
    """Start responders; all are stopped at the end."""
    started = []

    def start(served=chain, **options) -> Responder:
        started.append(Responder(served, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def leaf(root):
    """Make devices that reach a responder under its name; all are disconnected at the end."""
    made = []

    def make(responder: Responder, *, name=NAME, trust=root, **options) -> Device:
        connection = options.pop("connection", ConnectionString.parse(STRING)).replace(gateway_host_name=name)
        route = {(name, responder.port): ("127.0.0.1", responder.port)}
        made.append(Device(connection, trust=trust, port=responder.port, connect_to=route, **options))
        return made[-1]

    yield make
    for one in made:
        one.disconnect()


@pytest.fixture
def paho_threads():
    """Return a function that names the threads paho has running now."""
    return lambda: [one.name for one in threading.enumerate() if one.name.startswith("paho")]
