"""What the real SDKs say when a gateway does not take them in, whatever its certificates are."""

import socket
from contextlib import contextmanager

import pytest

from gateway.events import ClientConnected, HandshakeFailed
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import node_refusal, python_connection

pytestmark = MARKS


@contextmanager
def closed_port():
    """A port that refuses connections as long as this lasts: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_tls_1_2_alone_suits_both(start, sdk, transport):
    """A gateway of a generation before TLS 1.3 is fine for both."""
    room = await start(tls=["1.2"])
    await room.open(sdk, transport=transport)
    assert (await room.event(ClientConnected)).tls_version == "TLSv1.2"


async def test_tls_1_3_alone_suits_node(start, sdks, transport):
    """The Node.js SDK takes TLS 1.3 alone."""
    room = await start(tls=["1.3"])
    await room.open(await sdks.get("node"), transport=transport)
    assert (await room.event(ClientConnected)).tls_version == "TLSv1.3"


async def test_tls_1_3_alone_does_not_suit_python(start, sdks, transport):
    """The Python SDK speaks TLS 1.2 and nothing else: it is told so by an alert, and so is the gateway's observer."""
    room = await start(tls=["1.3"])
    with pytest.raises(SdkError) as refused:
        await room.open(await sdks.get("python"), transport=transport)
    words = "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version"
    assert refused.value.chain == python_connection("SSLError", words)
    failed = await room.event(HandshakeFailed)
    assert (failed.sent_by, failed.alert) == ("gateway", "protocol_version")


async def test_closed_port_is_a_refused_connection(room, sdk, transport):
    """Nobody listens: the Python SDK names the errno, the Node.js SDK calls it not authorised."""
    device = await room.client(sdk, transport=transport)
    with closed_port() as port:
        for usual in (8883, 443):
            await sdk.call("route", host="localhost", port=usual, to=["127.0.0.1", port])
        with pytest.raises(SdkError) as refused:
            await device.open()
    expected = {
        "python": python_connection("ConnectionRefusedError", "[Errno 111] Connection refused"),
        "node": node_refusal(f"connect ECONNREFUSED 127.0.0.1:{port}"),
    }
    assert refused.value.chain == expected[sdk.name]


async def test_node_takes_a_port_in_the_gateway_host_name(room, sdks):
    """GatewayHostName=name:port works in the Node.js SDK over MQTT, without any redirection."""
    sdk = await sdks.get("node")
    device = await room.client(sdk, host=f"localhost:{room.gateway.mqtt_port}")
    await sdk.call("reset")
    await device.open()
    await device.send(body="1")
    assert (await room.message()).body == b"1"


async def test_python_takes_a_proxy(room, proxy, sdks, transport):
    """The Python SDK's own ProxyOptions reach the gateway through a CONNECT proxy, without any redirection."""
    sdk = await sdks.get("python")
    device = await room.client(sdk, transport=transport, proxy=list(proxy.address))
    await sdk.call("reset")
    proxy.routes = {("localhost", usual): port for usual, port in room.ports.items()}
    await device.open()
    await device.send(body="1")
    assert (await room.message()).body == b"1"
    assert proxy.asked == [("localhost", 443 if transport == "ws" else 8883)]
    await sdk.reset()
