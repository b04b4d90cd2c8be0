"""The HTTP servers beside Edge Hub: who may ask, what a request may bring, and what becomes of them."""

import asyncio
import json
import logging
import socket

import pytest

from gateway import Gateway
from gateway.web.guard import MOST_BODY
from tests.gateway.client import PATIENCE

HEALTH = "/api/v1/health"


async def ask(port, *headers, method="GET", path=HEALTH, body=b"", host=None):
    """Status and JSON of one request, written byte for byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", "Connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else None
    return status, json.loads(content) if content else None


@pytest.fixture
async def gateway(tmp_path):
    """A gateway with its own HTTP interface."""
    async with Gateway(admin_port=0, state=tmp_path / "state") as running:
        yield running


async def test_health_of_a_running_gateway(gateway):
    """Whoever waits for the gateway learns that it is up, and under which name."""
    assert await ask(gateway.admin_port) == (
        200,
        {"status": "up", "hostname": "localhost", "connected_clients": 0},
    )


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9", "localhost:99999"])
async def test_name_of_this_machine_is_accepted(gateway, host):
    """Every name that only this machine has, with any port: a container may show the server on another one."""
    assert (await ask(gateway.admin_port, host=host))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "x.localhost", "[::2]"])
async def test_other_name_is_refused(gateway, host):
    """A page that has its own name point to 127.0.0.1 gets nothing (DNS rebinding)."""
    status, answer = await ask(gateway.admin_port, host=host)
    assert (status, answer) == (421, {"Message": f"this server is not called {host!r}"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: https://localhost"], 403),
        (["Origin: http://localhost"], 200),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
        (["Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: none"], 200),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], 403),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], 200),
    ],
)
async def test_page_of_another_origin_is_refused(gateway, headers, status):
    """A web page cannot drive a developer's gateway; a link to it may be followed."""
    assert (await ask(gateway.admin_port, *headers, host="localhost"))[0] == status


async def test_navigation_from_elsewhere_changes_nothing(gateway):
    """A form of another page that is posted is refused, navigation or not."""
    headers = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Content-Length: 0"]
    assert (await ask(gateway.admin_port, *headers, method="POST"))[0] == 403


@pytest.mark.parametrize("length", [str(MOST_BODY + 1), "9" * 15])
async def test_body_that_is_too_large_is_refused_by_its_length(gateway, length):
    """Nothing of it is read."""
    status, _ = await ask(gateway.admin_port, f"Content-Length: {length}", method="POST")
    assert status == 413


async def test_broken_request_is_answered_and_the_server_goes_on(gateway):
    """What is no HTTP gets 400."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.admin_port)
    writer.write(b"\x16\x03\x01\x00\x05hello\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert (await ask(gateway.admin_port))[0] == 200


async def test_other_machines_need_the_token(tmp_path):
    """Bound to more than loopback, the interface asks for the token, and no longer for a name."""
    async with Gateway(admin_port=0, bind="0.0.0.0", state=tmp_path / "state") as gateway:
        port, token = gateway.admin_port, gateway.admin_token
        assert (await ask(port, host="lab-pc:80"))[0] == 401
        assert (await ask(port, "Authorization: Bearer wrong", host="lab-pc:80"))[0] == 401
        assert (await ask(port, f"Authorization: Bearer {token}", host="lab-pc:80"))[0] == 200


async def test_restart_of_edge_hub_leaves_the_server_alone(gateway):
    """The interface stays on its port while Edge Hub is down, and says so."""
    port = gateway.admin_port
    await gateway.exit()
    assert (await ask(port))[1]["status"] == "down"
    await gateway.boot()
    assert (await ask(port))[1]["status"] == "up"


async def test_port_that_cannot_be_had_is_said_and_left_out(tmp_path, caplog):
    """The gateway runs without; the log names the option."""
    log = logging.getLogger("tests.fronts")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with Gateway(admin_port=port, state=tmp_path / "state", log=log) as gateway:
            assert gateway.admin_port is None
            assert gateway.mqtt_port
    assert f"No admin server: cannot listen on 127.0.0.1:{port}: address already in use" in caplog.text


async def test_stopping_cuts_connections_off(tmp_path):
    """A client that keeps its connection open does not keep the gateway."""
    gateway = Gateway(admin_port=0, state=tmp_path / "state")
    await gateway.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.admin_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await gateway.stop()
    async with asyncio.timeout(PATIENCE):
        assert json.loads(await reader.read())["message"] == "there is nothing at /"
    writer.close()


async def test_nothing_asked_for_costs_nothing(tmp_path):
    """Without a port there is no server."""
    async with Gateway(state=tmp_path / "state") as gateway:
        assert (gateway.admin_port, gateway.admin_token) == (None, None)
