"""Topics of what goes to clients, read back by somebody else's reader."""

import random
from urllib.parse import parse_qsl, unquote

import pytest

from gateway.hub.delivery import OUTGOING, c2d_topic, desired_topic, input_topic, method_topic, twin_response_topic
from gateway.hub.topics import SYSTEM_PROPERTIES, parse_property_bag
from leafsim.watching import detail, kind

ODD = [
    "",
    " ",
    "+",
    "%",
    "%20",
    "a b",
    "a+b",
    "a=b",
    "a&b",
    "a/b",
    "?",
    "#",
    "$",
    "$.mid",
    "ä",
    "温度",
    "😀",
    '"',
    "\n",
    "\0",
]


def bag(topic, device="press"):
    """The property bag of a cloud-to-device topic."""
    head, _, rest = topic.partition("/devicebound/")
    assert head == f"devices/{device}/messages"
    return rest


def test_message_topic_is_written_as_the_product_writes_it():
    """Application properties, then system ones under their short names, percent-encoded, in the order given."""
    topic = c2d_topic(
        "press",
        {"colour": "deep blue", "Z": "1", "a": ""},
        {
            "message-id": "m/1",
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "to": "/devices/press/messages/devicebound",
            "absolute-expiry-time": "2023-11-14T22:14:20.0000000Z",
            "iothub-ack": "full",
        },
    )
    assert topic == (
        "devices/press/messages/devicebound/colour=deep%20blue&Z=1&a=&%24.mid=m%2F1&%24.ct=application%2Fjson"
        "&%24.ce=utf-8&%24.to=%2Fdevices%2Fpress%2Fmessages%2Fdevicebound"
        "&%24.exp=2023-11-14T22%3A14%3A20.0000000Z&iothub-ack=full"
    )


def test_message_topic_without_properties_keeps_its_slash():
    """The Node SDK drops a message without it."""
    assert c2d_topic("press", {}, {}) == "devices/press/messages/devicebound/"
    assert input_topic("press", "filter", "in", {}, {}) == "devices/press/modules/filter/inputs/in/"


def test_input_topic_names_the_input_and_the_sender():
    """As $.cdid and $.cmid; the output that it came from is not told."""
    topic = input_topic(
        "edge",
        "filter",
        "in1",
        {"k": "v"},
        {"connection-device-id": "press", "connection-module-id": "sensor", "output-name": "out1"},
    )
    assert topic == "devices/edge/modules/filter/inputs/in1/k=v&%24.cdid=press&%24.cmid=sensor"


def test_system_property_that_is_empty_or_unknown_does_not_travel():
    """The product leaves empty ones out and knows no others."""
    system = {"message-id": "", "lock-token": "secret", "output-name": "o", "iothub-interface-id": "i"}
    assert bag(c2d_topic("press", {}, system)) == ""


def test_system_property_wins_over_an_application_property_of_its_name():
    """In its place: no name is there twice."""
    topic = c2d_topic("press", {"$.mid": "forged", "k": "v"}, {"message-id": "m"})
    assert bag(topic) == "%24.mid=m&k=v"


@pytest.mark.parametrize("text", ODD)
def test_odd_text_survives(text):
    """As a name or a value, read by urllib and by the leaf simulator; never a bare character that means something."""
    topic = c2d_topic("press", {text: "v", "k": text}, {"correlation-id": text})
    raw = bag(topic)
    assert not set(raw) & set(' +#/?"\n\0$')
    assert raw.isascii()
    read = dict(parse_qsl(raw, keep_blank_values=True, strict_parsing=True, separator="&"))
    assert read == {text: "v", "k": text} | ({"$.cid": text} if text else {})
    assert kind(topic) == "c2d"
    assert detail(topic) == unquote(raw)


@pytest.mark.parametrize("seed", range(100))
def test_any_properties_survive(seed):
    """Written here, read with the reader for what comes up: names, values and system properties are the same."""
    source = random.Random(seed)

    def text():
        return (
            "".join(source.choice([*ODD, *"abcXYZ019-_.~", chr(source.randrange(1, 0xD800))]) for _ in range(4)) + "x"
        )

    properties = {text(): text() for _ in range(source.randrange(6))}
    both = sorted(OUTGOING.keys() & set(SYSTEM_PROPERTIES.values()))
    system = {name: text() for name in source.sample(both, source.randrange(len(both)))}
    raw = bag(c2d_topic("press", properties, system))
    assert parse_property_bag(raw) == (properties, system)
    assert len(dict(part.split("=") for part in raw.split("&")) if raw else ()) == len(properties) + len(system)


@pytest.mark.parametrize("device_id", ["a", "%#*?!(),:=@$'+-.", "A" * 128])
def test_ids_are_not_encoded(device_id):
    """As devices subscribe to them."""
    assert c2d_topic(device_id, {}, {}) == f"devices/{device_id}/messages/devicebound/"


def test_twin_topics():
    """The request id comes back as it was sent; a version only where one is given."""
    assert twin_response_topic(200, "5d8c9beb-5bd7") == "$iothub/twin/res/200/?$rid=5d8c9beb-5bd7"
    assert twin_response_topic(204, "a%20b", 7) == "$iothub/twin/res/204/?$rid=a%20b&$version=7"
    assert twin_response_topic(204, "1", 0) == "$iothub/twin/res/204/?$rid=1&$version=0"
    assert desired_topic(3) == "$iothub/twin/PATCH/properties/desired/?$version=3"
    assert (kind(twin_response_topic(200, "1")), kind(desired_topic(3))) == ("twin", "desired")


def test_method_topic():
    """Name and request id as they are."""
    topic = method_topic("re boot", "3f2c")
    assert topic == "$iothub/methods/POST/re boot/?$rid=3f2c"
    assert (kind(topic), detail(topic)) == ("method", "re boot/?$rid=3f2c")
