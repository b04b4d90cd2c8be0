"""Telemetry, subscriptions, and the end of a connection."""

import gc
import threading
from pathlib import Path

import pytest

from leafsim import Disconnected, LeafError, NotAcknowledged, Received
from tests.leafsim.responder import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE


def test_mapping_is_sent_as_json(serve, leaf):
    """A mapping travels as JSON and says so, with QoS 1."""
    responder = serve()
    with leaf(responder) as device:
        device.send({"temperature": 21})
    packet = responder.wait(PUBLISH)[0]
    assert packet.body == b'{"temperature": 21}'
    assert packet.topic == "devices/press-7/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8"
    assert packet.header == 0x32


@pytest.mark.parametrize(
    ("body", "sent"), [("grüße", "grüße".encode()), (b"\x00\xff", b"\x00\xff"), ([1, 2], b"[1, 2]")]
)
def test_other_bodies(serve, leaf, body, sent):
    """Text travels as UTF-8, bytes as they are, a sequence as JSON."""
    responder = serve()
    with leaf(responder) as device:
        device.send(body)
    assert responder.wait(PUBLISH)[0].body == sent


def test_properties_and_message_id(serve, leaf):
    """System properties come first, the others sorted and encoded."""
    responder = serve()
    with leaf(responder) as device:
        device.send(
            "x", {"b": "c d", "a": "1/2"}, message_id="m 1", content_type="text/plain", content_encoding="utf-8"
        )
    bag = "%24.mid=m%201&%24.ct=text%2Fplain&%24.ce=utf-8&a=1%2F2&b=c%20d"
    assert responder.wait(PUBLISH)[0].topic == f"devices/press-7/messages/events/{bag}"


def test_many_threads_send_at_once(serve, leaf):
    """Each thread gets its own acknowledgement; nothing is lost and nothing doubled."""
    responder = serve()
    with leaf(responder) as device:
        threads = [threading.Thread(target=lambda n=n: [device.send(f"{n}-{i}") for i in range(25)]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    bodies = [packet.body.decode() for packet in responder.wait(PUBLISH, 200)]
    assert sorted(bodies) == sorted(f"{n}-{i}" for n in range(8) for i in range(25))


def test_submit_many_then_wait(serve, leaf):
    """Messages can be sent without waiting for each; they arrive in order."""
    responder = serve()
    with leaf(responder) as device:
        for future in [device.submit(str(number)) for number in range(100)]:
            future.result(10)
    assert [packet.body for packet in responder.wait(PUBLISH, 100)] == [str(number).encode() for number in range(100)]


def test_no_acknowledgement(serve, leaf):
    """A message that is not acknowledged in time is an error, while the connection stands."""
    with leaf(serve(acknowledge=False)) as device:
        with pytest.raises(NotAcknowledged) as caught:
            device.send("x", timeout=0.1)
        assert (caught.value.seconds, caught.value.exit_code) == (0.1, 3)
        assert device.connected


def test_send_without_connection(serve, leaf):
    """Sending before connect() says what to do."""
    with pytest.raises(LeafError, match="not connected") as caught:
        leaf(serve()).send("x")
    assert caught.value.hint == "call connect() first"


def test_send_after_the_gateway_has_gone(serve, leaf):
    """A lost connection is noticed, has a reason, and refuses further messages."""
    responder = serve()
    with leaf(responder) as device:
        responder.wait(CONNECT)
        responder.drop()
        assert device.wait_disconnected(10) == "the gateway closed the connection"
        assert (device.connected, device.disconnect_reason) == (False, "the gateway closed the connection")
        with pytest.raises(Disconnected, match="the gateway closed the connection"):
            device.send("x")


def test_connection_lost_while_a_message_is_under_way(serve, leaf):
    """Whoever waits for an acknowledgement learns at once that none will come."""
    responder = serve(acknowledge=False)
    with leaf(responder) as device:
        sent = device.submit("x")
        responder.wait(PUBLISH)
        responder.drop()
        with pytest.raises(Disconnected):
            sent.result(10)


def test_message_under_way_when_the_leaf_disconnects(serve, leaf):
    """The leaf's own goodbye ends what is under way too."""
    with leaf(serve(acknowledge=False)) as device:
        sent = device.submit("x")
    with pytest.raises(Disconnected, match="the leaf disconnected"):
        sent.result(10)


def test_device_connects_again_after_a_loss(serve, leaf):
    """A device is good for another connection."""
    responder = serve()
    device = leaf(responder)
    device.connect()
    responder.wait(CONNECT)
    responder.drop()
    device.wait_disconnected(10)
    device.connect()
    device.send("again")
    assert responder.wait(PUBLISH)[0].body == b"again"


def test_wait_disconnected_while_connected(serve, leaf):
    """Waiting for the end of a connection that stands gives None."""
    with leaf(serve()) as device:
        assert device.wait_disconnected(0.01) is None


def test_subscribe_returns_what_was_granted(serve, leaf):
    """Each filter's granted QoS is told, 128 for a refused one."""
    responder = serve()
    with leaf(responder) as device:
        assert device.subscribe("devices/press-7/messages/devicebound/#", "refused/#") == (1, 128)
    assert responder.wait(SUBSCRIBE)[0]["filters"] == ["devices/press-7/messages/devicebound/#", "refused/#"]


def test_what_arrives_is_handed_over(serve, leaf):
    """A message from the gateway reaches on_message."""
    arrived, there = [], threading.Event()
    responder = serve()
    with leaf(responder, on_message=lambda one: (arrived.append(one), there.set())):
        responder.wait(CONNECT)
        responder.push("devices/press-7/messages/devicebound/a=b", b"hello")
        assert there.wait(10)
    assert arrived == [Received("devices/press-7/messages/devicebound/a=b", b"hello", 0)]


def test_listener_that_fails_does_not_harm_the_connection(serve, leaf, caplog):
    """An exception in on_message is logged, and the connection goes on."""
    failed = threading.Event()

    def fail(_message):
        failed.set()
        raise RuntimeError("a bug of the user's")

    responder = serve()
    with leaf(responder, on_message=fail) as device:
        responder.wait(CONNECT)
        responder.push("t", b"")
        assert failed.wait(10)
        device.send("still here")
    assert "a bug of the user's" in caplog.text


def test_send_inside_on_message_is_refused(serve, leaf):
    """Waiting on the connection's own thread would never end: it is refused at once, and submit() is the way."""
    answers, there = [], threading.Event()

    def answer(_message):
        try:
            device.send("x")
        except LeafError as error:
            answers.append(error.hint)
        answers.append(device.submit("y"))
        there.set()

    responder = serve()
    device = leaf(responder, on_message=answer)
    with device:
        responder.wait(CONNECT)
        responder.push("t", b"")
        assert there.wait(10)
        assert answers[0].startswith("use submit()")
        answers[1].result(10)


def test_disconnect_inside_on_message(serve, leaf, paho_threads):
    """A listener may end the connection, politely; the connection's thread then ends by itself."""
    responder = serve()
    device = leaf(responder, on_message=lambda _message: device.disconnect())
    device.connect()
    responder.wait(CONNECT)
    responder.push("t", b"")
    assert device.wait_disconnected(10) == "the leaf disconnected"
    responder.wait(DISCONNECT)
    device.disconnect()
    assert paho_threads() == []


def test_listener_and_owner_disconnect_at_once(serve, leaf, paho_threads):
    """Neither waits for the other: the owner's disconnect() returns though a listener is in disconnect() too."""
    entered = threading.Event()
    responder = serve()

    def listen(_message):
        entered.set()
        device.disconnect()

    device = leaf(responder, on_message=listen)
    device.connect()
    responder.wait(CONNECT)
    responder.push("t", b"")
    assert entered.wait(10)
    device.disconnect()
    assert paho_threads() == []


def test_connect_again_inside_on_disconnect(serve, leaf):
    """A leaf may connect again from the listener that is told of the loss."""
    back = threading.Event()

    def come_back(_reason):
        if not back.is_set():
            device.connect()
            back.set()

    responder = serve()
    device = leaf(responder, on_disconnect=come_back)
    device.connect()
    responder.wait(CONNECT)
    responder.drop()
    assert back.wait(10)
    device.send("again")
    assert responder.wait(PUBLISH)[0].body == b"again"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to count open files")
def test_nothing_is_left_open(serve, leaf, paho_threads):
    """Connections that went well, were refused or were lost leave no file descriptor and no thread."""
    good, refusing, closing = serve(), serve(connack=5), serve(manner="hang-up")

    def live():
        with leaf(good) as device:
            device.send("x")
        for responder in (refusing, closing):
            with pytest.raises(LeafError):
                leaf(responder).connect()

    def count():
        # What responders hold open until the end of the test is theirs, not the leaf's.
        theirs = sum(one.fileno() >= 0 for responder in (good, refusing, closing) for one in responder.held())
        return len(list(Path("/proc/self/fd").iterdir())) - theirs

    live()
    gc.collect()
    gc.disable()  # what is left must not depend on when the collector comes
    try:
        before = count()
        for _ in range(10):
            live()
        assert count() == before
    finally:
        gc.enable()
    assert paho_threads() == []


def test_end_is_told_once(serve, leaf):
    """on_disconnect is called once per connection, and not for one that was refused."""
    told = []
    responder, refusing = serve(), serve(connack=5)
    with leaf(responder, on_disconnect=told.append):
        pass
    assert told == ["the leaf disconnected"]
    with pytest.raises(LeafError):
        leaf(refusing, on_disconnect=told.append).connect()
    assert told == ["the leaf disconnected"]


def test_message_that_mqtt_cannot_carry(serve, leaf):
    """A property bag that makes the topic too long is the user's mistake, and is told as one."""
    with leaf(serve()) as device, pytest.raises(LeafError, match="cannot be sent"):
        device.send("x", {"k": "v" * 70_000})
