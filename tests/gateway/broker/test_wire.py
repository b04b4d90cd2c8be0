"""The packet parser on its own: every clause of MQTT 3.1.1 that it holds, and random bytes."""

import random

import pytest

from gateway.broker import wire
from gateway.hub.connect import Connect, Will
from tests.gateway import packets


def body_of(packet):
    """A packet without its fixed header."""
    found = wire.read_length(packet, 1)
    assert found is not None
    length, start = found
    assert start + length == len(packet)
    return packet[start:]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_remaining_length_survives_both_ways(length):
    """All four sizes of a remaining length, against an independent encoder (2.2.3)."""
    encoded = packets.remaining(length)
    assert wire.encode_length(length) == encoded
    assert wire.read_length(b"\x30" + encoded + b"x", 1) == (length, 1 + len(encoded))
    for short in range(len(encoded)):
        assert wire.read_length(b"\x30" + encoded[:short], 1) is None


def test_remaining_length_of_five_bytes_is_malformed():
    """The fourth byte has to be the last (2.2.3)."""
    with pytest.raises(wire.MalformedPacketError, match="longer than four bytes"):
        wire.read_length(b"\x30\xff\xff\xff\xff", 1)


def test_connect_with_everything_is_read():
    """Every field of CONNECT (3.1.3), in its order."""
    packet = packets.connect("c/ö", "u", b"\x00\xff", clean=False, keep_alive=65535, will=("w", b"\x00"), flags=0xEC)
    assert wire.read_connect(body_of(packet)) == Connect("c/ö", "u", b"\0\xff", False, 65535, Will("w", b"\0", 1, True))


def test_connect_with_nothing_is_read():
    """Only a client id."""
    packet = packets.connect("c", None, keep_alive=0)
    assert wire.read_connect(body_of(packet)) == Connect("c", None, None, True, 0, None)


def test_connect_keeps_a_byte_order_mark():
    """U+FEFF is an ordinary character and must not be taken off (1.5.3-3)."""
    assert wire.read_connect(body_of(packets.connect("\ufeffc", None))).client_id == "\ufeffc"


@pytest.mark.parametrize(
    ("packet", "level"),
    [
        (packets.connect(name="MQIsdp", level=3), None),
        (packets.connect(name="mqtt"), None),
        (packets.connect(name="MQT"), None),
        (packets.connect(name=""), None),
        (packets.connect(level=3), 3),
        (packets.connect(level=5), 5),
        (packets.connect(level=0x84), 0x84),
        (packets.connect(level=0), 0),
    ],
)
def test_connect_of_another_protocol_is_told_apart(packet, level):
    """Another name has no level, another level of MQTT is known by its number (3.1.2.1, 3.1.2.2)."""
    with pytest.raises(wire.UnsupportedProtocolError) as error:
        wire.read_connect(body_of(packet))
    assert error.value.level == level


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "longer than its packet"),
        (b"\0", "longer than its packet"),
        (b"\0\4MQT", "longer than its packet"),
        (b"\0\4MQTT", "ends inside"),
        (b"\0\4MQTT\4\2\0", "ends inside"),
        (b"\0\4MQTT\4\2\0\x3c", "longer than its packet"),
        (b"\0\4MQTT\4\2\0\x3c\0\2a", "longer than its packet"),
        (body_of(packets.connect()) + b"x", "longer than its fields"),
        (body_of(packets.connect(flags=0x83)), "reserved CONNECT flag"),
        (body_of(packets.connect(username=None, password=b"p", flags=0x42)), "password without a user name"),
        (body_of(packets.connect(will=("t", b""), flags=0x9E)), "will flags"),
        (body_of(packets.connect(flags=0x8A)), "will flags"),
        (body_of(packets.connect(flags=0xA2)), "will flags"),
        (body_of(packets.connect("", clean=False)), "empty client id"),
        (body_of(packets.connect(b"\xff")), "not UTF-8"),
        (body_of(packets.connect(b"\xed\xa0\x80")), "not UTF-8"),
        (body_of(packets.connect(b"\xc0\x80")), "not UTF-8"),
        (body_of(packets.connect("a\0b")), "NUL"),
        (body_of(packets.connect(username=b"\xc3")), "not UTF-8"),
        (body_of(packets.connect(will=(b"\xff", b""))), "not UTF-8"),
    ],
)
def test_connect_that_is_malformed_says_how(body, why):
    """Every way a CONNECT can break 3.1 and 1.5.3."""
    with pytest.raises(wire.MalformedPacketError, match=why):
        wire.read_connect(body)


def test_every_truncation_of_connect_is_malformed():
    """A CONNECT cut anywhere is never read as a shorter one."""
    body = body_of(packets.connect("c", "user", b"password", will=("topic", b"payload")))
    for end in range(len(body)):
        with pytest.raises(wire.MalformedPacketError):
            wire.read_connect(body[:end])


@pytest.mark.parametrize(
    ("header", "body", "why"),
    [
        (0x80, b"\0\1\0\1a\0", "reserved header flags"),
        (0x83, b"\0\1\0\1a\0", "reserved header flags"),
        (0x82, b"", "without a packet id"),
        (0x82, b"\0", "without a packet id"),
        (0x82, b"\0\0\0\1a\0", "without a packet id"),
        (0x82, b"\0\1", "without a topic filter"),
        (0x82, b"\0\1\0\1a", "without a valid QoS"),
        (0x82, b"\0\1\0\1a\3", "without a valid QoS"),
        (0x82, b"\0\1\0\1a\x80", "without a valid QoS"),
        (0x82, b"\0\1\0\2ab", "without a valid QoS"),
        (0x82, b"\0\1\0\3a\0", "longer than its packet"),
        (0x82, b"\0\1\0\1a\0\0", "longer than its packet"),
        (0x82, b"\0\1\0\0\0", "empty or has a wildcard"),
        (0x82, b"\0\1\0\1\0\0", "NUL"),
        (0x82, b"\0\1\0\1\xff\0", "not UTF-8"),
        (0x82, b"\0\1\0\2a#\0", "wildcard in the wrong place"),
        (0x82, b"\0\1\0\3#/a\0", "wildcard in the wrong place"),
        (0x82, b"\0\1\0\3a+/\0", "wildcard in the wrong place"),
        (0x82, b"\0\1\0\1a\0\0\2++\0", "wildcard in the wrong place"),
    ],
)
def test_subscribe_that_is_malformed_says_how(header, body, why):
    """Every way a SUBSCRIBE can break 3.8 and 4.7."""
    with pytest.raises(wire.MalformedPacketError, match=why):
        wire.read_subscribe(header, body)


@pytest.mark.parametrize("name", ["#", "+", "/", "+/+", "/#", "a/+/b", "a/#", "$iothub/twin/res/#", " ", "a//b", "€"])
def test_subscribe_with_a_valid_filter_is_read(name):
    """Wildcards in the right place, empty levels, blanks (4.7.1)."""
    body = body_of(packets.subscribe((name, 2), (name, 0), packet_id=7))
    assert wire.read_subscribe(0x82, body) == (b"\0\7", [(name, 2), (name, 0)])


@pytest.mark.parametrize(
    ("header", "body"),
    [(0xA0, b"\0\1\0\1a"), (0xA2, b"\0\1"), (0xA2, b"\0\0\0\1a"), (0xA2, b"\0\1\0\2a"), (0xA2, b"\0\1\0\2a#")],
)
def test_unsubscribe_that_is_malformed_is_refused(header, body):
    """Wrong flags, no filter, no packet id, a short filter, a misplaced wildcard (3.10)."""
    with pytest.raises(wire.MalformedPacketError):
        wire.read_unsubscribe(header, body)


@pytest.mark.parametrize("raw", [b"", b"a/#", b"+", b"a+", b"a\0", b"\xff", b"\xed\xbf\xbf"])
def test_topic_name_that_is_malformed_is_refused(raw):
    """Empty, with a wildcard, with NUL, no UTF-8 (3.3.2.1, 4.7.3)."""
    with pytest.raises(wire.MalformedPacketError):
        wire.read_topic(raw)


def test_refusal_never_says_that_a_session_is_present():
    """Session present is 0 with any code but 0 (3.2.2-4)."""
    assert wire.connack(0, session_present=True) == b"\x20\2\1\0"
    assert wire.connack(5, session_present=True) == b"\x20\2\0\5"


def test_answers_are_encoded():
    """SUBACK and UNSUBACK byte for byte, a long SUBACK with a two-byte length."""
    assert wire.suback(b"\1\2", [0, 1]) == b"\x90\4\1\2\0\1"
    assert wire.suback(b"\1\2", [1] * 126) == b"\x90\x80\1\1\2" + b"\1" * 126
    assert wire.unsuback(b"\1\2") == b"\xb0\2\1\2"


def corrupted(rng):
    """A valid packet's body with some of its bytes changed, cut or repeated, or random bytes."""
    bodies = (
        packets.connect("c", "hub/c/?api-version=1", b"p", will=("t", b"w")),
        packets.subscribe(("a/+", 1), ("$iothub/twin/res/#", 0)),
        packets.unsubscribe("a", "b/#"),
    )
    body = bytearray(rng.choice(bodies)[2:])
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(body) + 1)
        change = rng.randrange(4)
        if change == 0 and at < len(body):
            body[at] = rng.randrange(256)
        elif change == 1:
            del body[at : at + rng.randint(1, 5)]
        elif change == 2:
            body[at:at] = rng.randbytes(rng.randint(1, 5))
        else:
            body = bytearray(rng.randbytes(rng.randint(0, 40)))
        if not body:
            break
    return bytes(body)


def test_random_bytes_raise_nothing_but_protocol_errors():
    """20,000 seeded mutations of packets: each is read or refused as malformed, nothing else comes out."""
    rng = random.Random(20_211_204)
    outcomes = {"read": 0, "refused": 0}
    readers = (
        wire.read_connect,
        lambda body: wire.read_subscribe(0x82, body),
        lambda body: wire.read_unsubscribe(0xA2, body),
        wire.read_topic,
        lambda body: wire.read_length(body, 0),
    )
    for _ in range(4_000):
        body = corrupted(rng)
        for read in readers:
            try:
                read(body)
            except (wire.MalformedPacketError, wire.UnsupportedProtocolError):
                outcomes["refused"] += 1
            else:
                outcomes["read"] += 1
    assert min(outcomes.values()) > 2_000, "the mutations have to reach both sides"
