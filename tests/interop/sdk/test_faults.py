"""What the real SDKs say to a gateway that misbehaves on purpose."""

import asyncio
import re

import pytest

from gateway import ManualClock, Settings
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import connack, node_refusal, python_connection

pytestmark = MARKS

NO_CONNECTION = node_refusal("Unable to establish a connection")
DROPPED = (
    ("ConnectionDroppedError", "Lost connection to IoTHub"),
    ("ConnectionDroppedError", "The connection was lost."),
)
NO_ANSWER = (
    ("OperationTimeout", "Could not complete operation before timeout"),
    ("OperationTimeout", "Transport timeout on connection operation"),
)
NO_HANDSHAKE = python_connection("TimeoutError", "_ssl.c: The handshake operation timed out")
AGAIN = {"python": {"options": {"connection_retry_interval": 1}}, "node": {}}


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
async def test_connack_code_is_told(room, sdk, transport, code):
    """Each return code has its own exception; only the Node.js SDK tries again after 3, which is the next test."""
    if (sdk.name, code) == ("node", 3):
        return
    room.gateway.faults.add("connack", code=code)
    with pytest.raises(SdkError) as refused:
        await room.open(sdk, transport=transport)
    # After code 1 paho tries MQTT 3.1, whose protocol name the gateway closes without an answer, as the product does.
    expected = DROPPED if (sdk.name, code) == ("python", 1) else connack(sdk, code)
    assert refused.value.chain == expected
    assert (await room.event(ConnectionRefused)).code == code


async def test_node_tries_again_while_the_server_is_unavailable(room, sdks, transport):
    """CONNACK 3 is the only one that the Node.js SDK takes for temporary."""
    room.gateway.faults.add("connack", code=3, connections=2)
    await room.open(await sdks.get("node"), transport=transport)
    await room.event(ClientConnected)
    assert [event.code for event in room.of(ConnectionRefused)] == [3, 3]


async def test_connection_that_is_closed_after_connect(room, sdk, transport):
    """The gateway reads CONNECT and closes without an answer."""
    room.gateway.faults.add("drop-after", after=0, cut=True, direction="to-client", since="connect")
    with pytest.raises(SdkError) as refused:
        await room.open(sdk, transport=transport)
    assert refused.value.chain == {"python": DROPPED, "node": NO_CONNECTION}[sdk.name]


async def test_connection_that_is_reset(room, sdk, transport):
    """A TCP reset when the ClientHello has come; an earlier one may be told of connecting or of reading."""
    room.gateway.faults.add("reset", after=1, direction="to-gateway")
    with pytest.raises(SdkError) as refused:
        await room.open(sdk, transport=transport)
    expected = {
        "python": python_connection("ConnectionResetError", "[Errno 104] Connection reset by peer"),
        "node": node_refusal("read ECONNRESET"),
    }
    assert refused.value.chain == expected[sdk.name]


async def test_closed_port_is_a_refused_connection(room, sdk, transport):
    """Nobody listens: the Python SDK names the errno, the Node.js SDK calls it not authorised."""
    device = await room.client(sdk, transport=transport)
    room.gateway.faults.add("refuse")
    with pytest.raises(SdkError) as refused:
        await device.open()
    port = room.ports[443 if transport == "ws" else 8883]
    expected = {
        "python": python_connection("ConnectionRefusedError", "[Errno 111] Connection refused"),
        "node": node_refusal(f"connect ECONNREFUSED 127.0.0.1:{port}"),
    }
    assert refused.value.chain == expected[sdk.name]


def without_line_numbers(chain):
    """CPython puts the line of its own source into a message: `_ssl.c:989:`."""
    return tuple((kind, re.sub(r"_ssl\.c:\d+:", "_ssl.c:", text)) for kind, text in chain)


SILENCES = {
    "no-connack": ("silent", {"since": "connect"}, {"python": NO_ANSWER, "node": NO_CONNECTION}),
    "no-handshake": ("silent", {}, {"python": NO_HANDSHAKE, "node": NO_CONNECTION}),
    "no-hello": ("swallow-first-record", {}, {"python": NO_HANDSHAKE, "node": NO_CONNECTION}),
}


async def test_silence_ends_after_a_minute(start, fresh):
    """Both SDKs give up after 60 s, wherever the gateway falls silent; all of these wait at once."""

    async def wait(name, fault, facts, expected):
        room = await start(clock=ManualClock())  # which stands still, so that the gateway has all the time
        room.gateway.faults.add(fault, **facts)
        device = await room.client(await fresh(name))
        with pytest.raises(SdkError) as refused:
            await device.open(deadline=90)
        assert without_line_numbers(refused.value.chain) == expected[name]

    await asyncio.gather(*(wait(name, *silence) for silence in SILENCES.values() for name in ("python", "node")))


ENDINGS = {"KillTcp": "Channel closed.", "ShutDownMqtt": "the gateway shuts connections down"}


@pytest.mark.parametrize("kind", ENDINGS)
async def test_connection_that_a_client_has_ended_comes_back(start, sdk, transport, kind):
    """What the SDKs' own tests ask of IoT Hub: the connection ends, and the client delivers again without an error."""
    room = await start(settings=Settings(fault_injection=True))
    device = await room.open(sdk, transport=transport, **AGAIN[sdk.name])
    await device.listen()
    asked = {"AzIoTHub_FaultOperationType": kind, "AzIoTHub_FaultOperationCloseReason": "a test"}
    await device.send(body="fault", properties={**asked, "AzIoTHub_FaultOperationDelayInSecs": "0"})
    assert (await room.event(ClientDisconnected)).reason == ENDINGS[kind]
    await device.send(body="after")
    assert (await room.message()).body == b"after"
    assert len(room.of(ClientConnected)) == 2
    assert len(room.gateway.upstream.inbox.messages) == 1


async def test_fault_messages_are_ordinary_ones_unless_they_are_switched_on(room, sdk, transport):
    """Without the setting they are telemetry like any other."""
    device = await room.open(sdk, transport=transport)
    await device.send(body="1", properties={"AzIoTHub_FaultOperationType": "KillTcp"})
    assert (await room.message()).properties == {"AzIoTHub_FaultOperationType": "KillTcp"}
    await device.send(body="2")
    assert (await room.message()).body == b"2"


async def _twins(device):
    while True:  # the fault begins a turn of the loop after its message was acknowledged
        await device.twin()


async def test_throttled_twin_request_is_an_error_of_its_own(start, sdk, transport):
    """While the client is throttled its twin requests are answered 429; afterwards they succeed."""
    room = await start(settings=Settings(fault_injection=True))
    device = await room.open(sdk, transport=transport)
    await device.twin()
    asked = {"AzIoTHub_FaultOperationType": "InvokeThrottling", "AzIoTHub_FaultOperationDurationInSecs": "3600"}
    await device.send(body="fault", properties=asked)
    with pytest.raises(SdkError) as refused:
        await _twins(device)
    expected = {
        "python": (("ClientError", "Unexpected failure"), ("ServiceError", "twin operation returned status 429")),
        "node": (("Error", "Throttling limits have been exceeded."),),
    }
    assert refused.value.chain == expected[sdk.name]
