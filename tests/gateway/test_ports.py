"""How an address to listen on is named elsewhere."""

import socket

import pytest

from gateway import Gateway
from gateway.ports import in_url


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("localhost", "localhost"),
        ("gw.factory.test", "gw.factory.test"),
    ],
)
def test_address_in_a_url(address, named):
    """IPv6 stands in brackets, all addresses are loopback, and a name is as good as an address."""
    assert in_url(address) == named


@pytest.mark.parametrize(
    ("bind", "host"), [("127.0.0.1", "localhost"), ("localhost", "localhost"), ("0.0.0.0", "localhost")]
)
async def test_back_end_is_told_where_the_service_api_is(bind, host):
    """Also when the gateway listens on a name instead of an address."""
    async with Gateway(bind=bind, hub_port=0, admin_port=0) as gateway:
        assert gateway.service_connection_string().startswith(f"HostName={host}:{gateway.hub_port};")
        socket.create_connection((host, gateway.hub_port), 5).close()


async def test_gateway_listens_on_the_machines_own_name():
    """What is printed for back ends and programs bears that name."""
    name = socket.gethostname()
    try:
        socket.create_server((name, 0)).close()
    except OSError:
        pytest.skip(f"{name} leads to no address of this machine")
    async with Gateway(bind=name, hub_port=0, admin_port=0) as gateway:
        assert gateway.admin_url == f"http://{name}:{gateway.admin_port}"
        assert gateway.service_connection_string().startswith(f"HostName={name}:{gateway.hub_port};")
