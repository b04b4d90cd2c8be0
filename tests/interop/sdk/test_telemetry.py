"""Connecting and sending telemetry with the real SDKs."""

import pytest

from gateway.events import ClientConnected, ConnectionRefused
from gateway.hub.auth import TokenFault
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import connack

pytestmark = MARKS

WRONG_KEY = "bGVhZmdhdGUtdGVzdC1rZXktdGhhdC1pcy13cm9uZyE="

AWKWARD = {"plain": "1", "spaced key": "v w", "signs": "a=b&c/d?e#f%41+$", "unicode": "é…☃", "empty": ""}
SYSTEM = {
    "message_id": "m-1",
    "correlation_id": "c/1",
    "user_id": "u@plant",
    "content_type": "application/json",
    "content_encoding": "utf-8",
}


async def test_message_arrives_with_all_its_properties(room, sdk, transport):
    """Every kind of property arrives as it was given: spaces, separators, letters beyond ASCII, system properties."""
    device = await room.open(sdk, transport=transport)
    await device.send(body='{"temperature": 21}', properties=AWKWARD, **SYSTEM)
    message = await room.message()
    assert message.json() == {"temperature": 21}
    assert message.properties == AWKWARD
    assert message.system_properties == {name.replace("_", "-"): value for name, value in SYSTEM.items()}


async def test_message_from_another_device_is_not_taken_for_this_one(room, sdk, transport):
    """Two clients in one process: each one's messages come under its own name."""
    one = await room.open(sdk, "dev1", transport=transport)
    two = await room.open(sdk, "dev2", transport=transport)
    await two.send(body="2")
    await one.send(body="1")
    assert [(m.device_id, m.body) for m in (await room.message("dev1"), await room.message("dev2"))] == [
        ("dev1", b"1"),
        ("dev2", b"2"),
    ]


async def test_connection_says_who_and_how(room, sdk, transport):
    """The gateway knows the device, the name that it asked for, and the TLS version of its SDK."""
    await room.open(sdk, transport=transport)
    connected = await room.event(ClientConnected)
    version = {"python": "TLSv1.2", "node": "TLSv1.3"}[sdk.name]
    assert (connected.client_id, connected.server_name, connected.tls_version) == ("dev1", "localhost", version)


async def test_gateway_in_place_of_the_hub_is_taken(room, sdk, transport):
    """A connection string with the gateway as HostName: token and user name bear the gateway's name, which is fine."""

    def without_hub(text):
        return text.replace(room.gateway.hub_hostname, room.gateway.hostname).partition(";GatewayHostName=")[0]

    device = await room.open(sdk, transport=transport, change=without_hub)
    await device.send(body="1")
    assert (await room.message()).body == b"1"


async def test_wrong_key_is_a_credential_error(room, sdk, transport):
    """A key that is not the device's is refused with CONNACK 5, which each SDK says in its own way."""
    room.gateway.connection_string("dev1")
    key = room.gateway.registry.get("dev1").primary_key
    with pytest.raises(SdkError) as refused:
        await room.open(sdk, transport=transport, change=lambda text: text.replace(key, WRONG_KEY))
    assert refused.value.chain == connack(sdk, 5)
    assert (await room.event(ConnectionRefused)).reason == TokenFault.KEY
    assert room.gateway.upstream.inbox.messages == ()
