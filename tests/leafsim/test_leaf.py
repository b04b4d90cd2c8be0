"""The asynchronous face."""

import asyncio

import pytest

from leafsim import ConnackRefused, ConnectionString, Disconnected, Leaf, NotAcknowledged
from tests.leafsim.conftest import NAME, STRING
from tests.leafsim.responder import PUBLISH, SUBSCRIBE


@pytest.fixture
def make(root):
    """Make leaves that reach a responder under its name."""

    def leaf(responder, **options):
        route = {(NAME, responder.port): ("127.0.0.1", responder.port)}
        return Leaf(STRING, trust=root, port=responder.port, connect_to=route, **options)

    return leaf


async def test_leaf_sends_and_leaves(serve, make, paho_threads):
    """Connect, send, disconnect: the short way."""
    responder = serve()
    async with make(responder) as leaf:
        assert leaf.connected
        await leaf.send({"temperature": 21}, {"line": "4"}, message_id="m1")
    packet = responder.wait(PUBLISH)[0]
    assert packet.body == b'{"temperature": 21}'
    assert packet.topic.startswith("devices/press-7/messages/events/%24.mid=m1&")
    assert leaf.disconnect_reason == "the leaf disconnected"
    assert paho_threads() == []


async def test_many_leaves_at_once(serve, root, paho_threads):
    """Many leaves wait for many acknowledgements without a thread for each wait."""
    responder = serve()
    route = {(NAME, responder.port): ("127.0.0.1", responder.port)}

    async def live(number):
        connection = ConnectionString.parse(STRING).replace(device_id=f"press-{number}")
        async with Leaf(connection, trust=root, port=responder.port, connect_to=route) as leaf:
            await asyncio.gather(*(leaf.send(str(one)) for one in range(10)))

    await asyncio.gather(*map(live, range(20)))
    assert len(responder.wait(PUBLISH, 200)) == 200
    assert paho_threads() == []


async def test_refusal_is_the_same_error(serve, make):
    """What Device raises, Leaf raises."""
    with pytest.raises(ConnackRefused) as caught:
        async with make(serve(connack=5)):
            pass
    assert caught.value.code == 5


async def test_no_acknowledgement(serve, make):
    """A deadline that passes is NotAcknowledged."""
    async with make(serve(acknowledge=False)) as leaf:
        with pytest.raises(NotAcknowledged):
            await leaf.send("x", timeout=0.1)


async def test_connection_lost_while_sending(serve, make):
    """A lost connection ends the wait."""
    responder = serve(acknowledge=False)
    async with make(responder) as leaf:
        sending = asyncio.ensure_future(leaf.send("x"))
        await asyncio.to_thread(responder.wait, PUBLISH)
        responder.drop()
        with pytest.raises(Disconnected):
            await sending


async def test_cancelled_send_leaves_the_connection(serve, make):
    """Cancelling a wait for an acknowledgement does no harm to the connection."""
    responder = serve(acknowledge=False)
    async with make(responder) as leaf:
        sending = asyncio.ensure_future(leaf.send("x"))
        await asyncio.to_thread(responder.wait, PUBLISH)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert leaf.connected


async def test_cancelled_connect_leaves_nothing(serve, make, paho_threads):
    """An attempt that is cancelled does not come to life later."""
    responder = serve(manner="mute")
    leaf = make(responder)
    attempt = asyncio.ensure_future(leaf.connect(timeout=0.5))
    await asyncio.to_thread(responder.wait_name)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await leaf.disconnect()  # waits for the attempt, which holds the device
    assert not leaf.connected
    assert paho_threads() == []


async def test_subscribe(serve, make):
    """Subscribing waits for the gateway's answer."""
    responder = serve()
    async with make(responder) as leaf:
        assert await leaf.subscribe("devices/press-7/messages/devicebound/#") == (1,)
    assert responder.wait(SUBSCRIBE)


def test_repr_shows_who_and_where():
    """repr() names device and gateway, and nothing secret."""
    assert repr(Leaf(STRING, trust=None)) == f"Leaf('press-7' at {NAME}:8883)"
