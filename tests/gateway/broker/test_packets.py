"""What each packet does to a connection, over real TLS."""

import asyncio
import random

import pytest

from gateway import Settings
from gateway.events import ClientDisconnected, ConnectionRefused, MessageDropped
from tests.gateway import packets as p

TOPIC = "devices/press/messages/events/"


async def reason_of(hub, client):
    """Why the gateway ended this client's session."""
    await client.eof()
    return (await hub.event(ClientDisconnected, peer=client.peer)).reason


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (p.connect(), "a second CONNECT"),
        (b"\x00\x00", "a packet of type 0"),
        (b"\xf0\x00", "a packet of type 15"),
        (b"\x20\x02\0\0", "a packet of type 2"),
        (b"\x90\x03\0\1\0", "a packet of type 9"),
        (b"\xb0\x02\0\1", "a packet of type 11"),
        (b"\xd0\x00", "a packet of type 13"),
        (b"\x50\x02\0\1", "a packet of type 5"),
        (b"\x62\x02\0\1", "a packet of type 6"),
        (b"\x70\x02\0\1", "a packet of type 7"),
        (b"\x41\x02\0\1", "a packet of type 4 with flags 0001"),
        (b"\x40\x01\0", "a packet of type 4"),
        (b"\x40\x03\0\1\0", "a packet of type 4"),
        (b"\xc1\x00", "a packet of type 12 with flags 0001"),
        (b"\xc0\x01\0", "a packet of type 12"),
        (b"\xe1\x00", "a packet of type 14 with flags 0001"),
        (b"\xe0\x01\0", "a packet of type 14"),
        (b"\x30\xff\xff\xff\xff\x01", "longer than four bytes"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4, "a packet of type 4"),
        (p.packet(0x36, p.field(TOPIC) + b"\0\1x"), "QoS 3"),
        (p.packet(0x3E, p.field(TOPIC) + b"\0\1x"), "QoS 3"),
        (p.publish(dup=True, qos=0), "a repeated one of QoS 0"),
        (p.publish(packet_id=0), "packet id 0"),
        (p.publish(packet_id=0, qos=2), "packet id 0"),
        (b"\x32\x00", "ends early"),
        (b"\x32\x01\0", "ends early"),
        (b"\x30\x03\0\2a", "ends early"),
        (b"\x32\x04\0\1a\0", "ends early"),
        (p.publish(b"\xff\xfe"), "not UTF-8"),
        (p.publish(b"\xed\xa0\x80"), "not UTF-8"),
        (p.publish("devices/press\0/messages/events/"), "NUL"),
        (p.publish(""), "empty"),
        (p.publish("devices/+/messages/events/"), "wildcard"),
        (p.publish("devices/press/messages/events/#"), "wildcard"),
        (p.packet(0x80, b"\0\1\0\1a\0"), "flags of a subscription"),
        (p.packet(0x82, b"\0\1\0\1a\3"), "valid QoS"),
        (p.packet(0x82, b"\0\1"), "without a topic filter"),
        (p.packet(0xA2, b"\0\1"), "without a topic filter"),
        (p.packet(0xA0, b"\0\1\0\1a"), "flags of a subscription"),
        (p.publish("$iothub/twin/GET/"), "Correlation id is missing"),
        (p.publish("$iothub/twin/GET/sub/?$rid=1"), "not supported: `sub/"),
        (p.publish("$iothub/twin/PATCH/properties/desired/?$rid=1", qos=0), "Failed to parse"),
    ],
)
async def test_malformed_packet_ends_the_connection(hub, packet, why):
    """The connection closes without an answer and says why; the message is not taken."""
    client = await hub.join()
    client.send(packet)
    reason = await reason_of(hub, client)
    assert reason.startswith("malformed packet: ")
    assert why in reason
    assert len(hub.gateway.upstream.inbox) == 0


async def test_malformed_packet_leaves_others_alone(hub):
    """One client's garbage does not touch another's session."""
    good, bad = await hub.join("good"), await hub.join("bad")
    bad.send(b"\xff" * 100)
    await bad.eof()
    good.send(p.PINGREQ)
    assert await good.packet() == p.PINGRESP


@pytest.mark.parametrize(
    "packet",
    [p.publish(), p.PINGREQ, p.DISCONNECT, p.subscribe(("a", 0)), b"\x11\x00", b"\x12" + p.connect()[1:], b"\0\0"],
)
async def test_first_packet_that_is_not_connect_closes(hub, packet):
    """Anything before CONNECT closes without CONNACK (MQTT 3.1.0-1)."""
    client = await hub.dial()
    client.send(packet)
    await client.eof()
    refused = await hub.event(ConnectionRefused, peer=client.peer)
    assert (refused.code, refused.client_id) == (None, None)
    assert refused.reason == "malformed packet: the first packet is not CONNECT"


async def test_packets_after_a_refusal_are_ignored(hub):
    """What a client sent behind a CONNECT that is refused does nothing."""
    client = await hub.dial()
    client.raw(client.records(p.connect(password=b"bad") + p.publish()))
    assert await client.rest() == b"\x20\x02\0\5"
    assert len(hub.gateway.upstream.inbox) == 0


async def test_packets_after_connect_in_the_same_record_are_answered(hub):
    """A client need not wait for CONNACK (MQTT 3.1.4)."""
    client = await hub.dial()
    client.send(hub.hello() + p.subscribe(("a", 1), packet_id=3) + p.publish(packet_id=9) + p.PINGREQ)
    answers = [await client.packet() for _ in range(4)]
    assert answers[0] == b"\x20\x02\0\0"
    assert sorted(answers[1:]) == sorted([b"\x90\x03\0\3\1", p.puback(9), p.PINGRESP])


async def test_packets_after_disconnect_are_ignored(hub):
    """Nothing behind a DISCONNECT counts (MQTT 3.14.4)."""
    client = await hub.join()
    client.send(p.publish(body=b"before") + p.DISCONNECT + p.publish(body=b"after"))
    assert await reason_of(hub, client) == "DISCONNECT"
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"before"]


async def test_message_arrives_as_sent(hub):
    """Body byte for byte, properties decoded, the enqueued time from the gateway's clock, PUBACK with its own id."""
    client, body = await hub.join(), bytes(range(256))
    client.send(p.publish(TOPIC + "temp=2%2B1&$.ct=text%2Fplain&flag", body, packet_id=0xABCD))
    assert await client.packet() == b"\x40\x02\xab\xcd"
    (message,) = hub.gateway.upstream.inbox.messages
    assert (message.device_id, message.module_id, message.body) == ("press", None, body)
    assert (message.properties, message.system_properties) == (
        {"temp": "2+1", "flag": None},
        {"content-type": "text/plain"},
    )
    assert message.enqueued_time.timestamp() == hub.clock.now()


async def test_message_of_qos_0_gets_no_answer(hub):
    """QoS 0 is taken without PUBACK; the next answer is another packet's."""
    client = await hub.join()
    client.send(p.publish(qos=0, body=b"x"), p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    assert (await hub.gateway.upstream.inbox.next_message(timeout=10)).body == b"x"


async def test_message_of_qos_2_is_stored_and_then_closes(hub):
    """The product stores the message before it notices QoS 2: no PUBREC, the connection ends."""
    client = await hub.join()
    client.send(p.publish(qos=2, body=b"kept"))
    assert await reason_of(hub, client) == "QoS 2 is not supported."
    assert (await hub.gateway.upstream.inbox.next_message(timeout=10)).body == b"kept"


@pytest.mark.parametrize(
    ("flags", "properties"),
    [
        ({}, {"a": "1"}),
        ({"retain": True}, {"a": "1", "mqtt-retain": "true"}),
        ({"dup": True}, {"a": "1", "mqtt-dup": "true"}),
        ({"retain": True, "dup": True}, {"a": "1", "mqtt-retain": "true", "mqtt-dup": "true"}),
    ],
)
async def test_flags_of_publish_become_properties(hub, flags, properties):
    """RETAIN and DUP are told upstream; nothing is retained, also not for a message of the same topic later."""
    client = await hub.join()
    client.send(p.publish(TOPIC + "a=1", **flags), p.publish(TOPIC + "a=1"))
    await client.packets(2)
    assert [one.properties for one in hub.gateway.upstream.inbox.messages] == [properties, {"a": "1"}]
    client.send(p.subscribe((TOPIC + "a=1", 1)), p.PINGREQ)
    assert await client.packets(2) == [b"\x90\x03\0\1\1", p.PINGRESP]


MEANINGLESS = [
    ("a", "Message address a does not match any topic."),
    (TOPIC + "a=b&", "the property bag has a stray '=' or '&' near ''"),
    (TOPIC + "a=%zz", "the property bag has a broken %-escape in 'a=%zz'"),
    (TOPIC + "a=b=c", "the property bag has a stray '=' or '&' near 'a=b=c'"),
    (TOPIC + "$.ct=application/json", "does not match any topic."),
    ("$iothub/twins/GET/?$rid=1", "does not match any topic."),
    ("$iothub/methods/res/200/1", "does not match any topic."),
    ("$SYS/x", "does not match any topic."),
]


@pytest.mark.parametrize(("topic", "reason"), MEANINGLESS)
async def test_strict_closes_the_connection_where_edge_hub_drops(start, topic, reason):
    """As IoT Hub does: no PUBACK, and the reason of the end says what was wrong."""
    hub = await start(settings=Settings(strict=True))
    client = await hub.join()
    client.send(p.publish(topic))
    assert reason in await reason_of(hub, client)
    assert len(hub.gateway.upstream.inbox) == 0


@pytest.mark.parametrize(("topic", "reason"), MEANINGLESS)
async def test_message_that_means_nothing_is_acknowledged_and_dropped(hub, topic, reason):
    """PUBACK, an event and a warning, the connection stays; the same again says so again."""
    client = await hub.join()
    for packet_id in (5, 6):
        client.send(p.publish(topic, packet_id=packet_id))
        assert await client.packet() == p.puback(packet_id)
    dropped = hub.of(MessageDropped)
    assert [(one.client_id, one.topic) for one in dropped] == [("press", topic)] * 2
    assert reason in dropped[0].reason
    assert "[WRN] - Message was not sent for device Id press. " in hub.log.getvalue()
    client.send(p.publish(body=b"good"))
    assert await client.packet() == p.puback()
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"good"]


async def test_pubacks_keep_the_order_of_publishes(hub):
    """PUBACKs come in the order of the PUBLISH packets, dropped and stored messages mixed (MQTT 4.6)."""
    client, rng = await hub.join(), random.Random(7)
    ids = list(range(1, 2_001))
    rng.shuffle(ids)
    topics = [TOPIC, "nowhere", TOPIC + "a=&&", TOPIC + "n=1"]
    sent = [p.publish(rng.choice(topics), str(one).encode(), packet_id=one) for one in ids]
    while sent:
        count = rng.randint(1, 50)
        client.send(b"".join(sent[:count]))
        del sent[:count]
    assert await client.packets(len(ids)) == [p.puback(one) for one in ids]
    stored = [int(one.body) for one in hub.gateway.upstream.inbox.messages]
    assert stored == [one for one in ids if one in set(stored)]
    assert 500 < len(stored) < 1_500


async def test_answer_longer_than_a_tls_record_arrives_whole(hub):
    """9,000 PUBACKs and a SUBACK of 30,000 codes: OpenSSL takes 16 KiB at a time, the rest must follow."""
    client = await hub.join()
    client.send(b"".join(p.publish("x", b"", packet_id=one) for one in range(1, 9_001)))
    assert await client.packets(9_000) == [p.puback(one) for one in range(1, 9_001)]
    client.send(p.subscribe(*((f"{one:x}", 1) for one in range(30_000))))
    assert await client.packet() == p.packet(0x90, b"\0\1" + b"\1" * 30_000)


def sized(total):
    """A PUBLISH of exactly this many bytes, fixed header included."""
    return p.publish(body=bytes(total - len(p.publish(body=bytes(total))) + total))


async def test_packet_of_exactly_the_limit_passes_and_one_more_byte_closes(hub):
    """262,144 bytes with header and topic are accepted; 262,145 close the connection without PUBACK."""
    client = await hub.join()
    fits, over = sized(262_144), sized(262_145)
    assert (len(fits), len(over)) == (262_144, 262_145)
    client.send(fits)
    assert await client.packet() == p.puback()
    client.send(over)
    assert await reason_of(hub, client) == "a packet of 262145 bytes; 262144 is the most"
    assert len(hub.gateway.upstream.inbox) == 1


@pytest.mark.parametrize("header", [b"\x32\xff\xff\xff\x7f", b"\x82\xff\xff\xff\x7f", b"\x10\xff\xff\xff\x7f"])
async def test_declared_size_over_the_limit_closes_at_once(hub, header):
    """A header that announces 256 MiB is enough, of whatever packet."""
    client = await hub.join()
    client.send(header)
    assert await reason_of(hub, client) == "a packet of 268435460 bytes; 262144 is the most"


async def test_connect_over_the_limit_closes_without_connack(hub):
    """The limit holds before anybody is authenticated, too."""
    client = await hub.dial()
    client.send(b"\x10\xff\xff\xff\x7f")
    await client.eof()
    refused = await hub.event(ConnectionRefused, peer=client.peer)
    assert (refused.code, refused.reason) == (None, "a packet of 268435460 bytes; 262144 is the most")


async def test_largest_possible_topic_passes(hub):
    """A topic of 65,535 bytes, the most its length field can say."""
    client = await hub.join()
    topic = TOPIC + "a=" + "x" * (65_535 - len(TOPIC) - 2)
    client.send(p.publish(topic))
    assert await client.packet() == p.puback()
    (message,) = hub.gateway.upstream.inbox.messages
    assert len(message.properties["a"]) == 65_535 - len(TOPIC) - 2


async def test_packets_byte_by_byte_are_put_together(hub):
    """One TLS record per byte, CONNECT included."""
    client = await hub.dial()
    stream = hub.hello() + p.publish(TOPIC + "n=" + "9" * 200, b"drop by drop") + p.PINGREQ
    client.send(*(stream[at : at + 1] for at in range(len(stream))))
    answers = [await client.packet() for _ in range(3)]
    assert answers[0] == b"\x20\x02\0\0"
    assert sorted(answers[1:]) == [p.puback(), p.PINGRESP]
    assert hub.gateway.upstream.inbox.messages[0].body == b"drop by drop"


async def test_packets_cut_anywhere_are_put_together(hub):
    """A stream of small, medium and large packets cut at random places (seeded) loses and repeats nothing."""
    client, rng = await hub.join(), random.Random(11)
    sizes = [rng.choice((0, 1, 90, 127, 130, 5_000, 16_384, 40_000)) for _ in range(120)]
    stream = b"".join(p.publish(body=bytes([n % 256]) * size, packet_id=n + 1) for n, size in enumerate(sizes))
    while stream:
        count = rng.choice((1, 2, 3, 100, 16_000, 60_000))
        client.send(stream[:count])
        stream = stream[count:]
    assert await client.packets(120) == [p.puback(n + 1) for n in range(120)]
    assert [len(one.body) for one in hub.gateway.upstream.inbox.messages] == sizes


@pytest.mark.parametrize(("asked", "granted"), [(0, 0), (1, 1), (2, 1)])
async def test_subscription_is_granted_qos_1_at_most(hub, asked, granted):
    """QoS 2 becomes 1; SUBACK never refuses."""
    client = await hub.join()
    client.send(p.subscribe(("devices/press/messages/devicebound/#", asked), packet_id=0x0102))
    assert await client.packet() == bytes((0x90, 3, 1, 2, granted))


async def test_unknown_filter_is_granted_and_logged(hub):
    """A filter that nothing is ever delivered to gets its QoS, and a line in the log; a known one no line."""
    client = await hub.join()
    client.send(p.subscribe(("my/topic", 1), ("$iothub/methods/POST/#", 0), ("#", 2)))
    assert await client.packet() == b"\x90\x05\0\1\1\0\1"
    log = hub.log.getvalue()
    assert "[INF] - Ignoring unknown subscription to topic my/topic for press" in log
    assert "Ignoring unknown subscription to topic # for press" in log
    assert "methods/POST" not in log


async def test_thousands_of_unknown_filters_are_told_in_short(hub):
    """One SUBSCRIBE may name tens of thousands; a hundred lines and a number say enough."""
    client = await hub.join()
    client.send(p.subscribe(*((f"{one:x}", 0) for one in range(20_000))))
    assert len(await client.packet()) == 20_006
    log = hub.log.getvalue()
    assert log.count("Ignoring unknown subscription to topic") == 100
    assert "[INF] - Ignoring 19900 more of press" in log


async def test_unsubscribe_is_always_acknowledged(hub):
    """Also for a filter that was never subscribed (MQTT 3.10.4-5)."""
    client = await hub.join()
    client.send(p.unsubscribe("never", "was", packet_id=0x0304))
    assert await client.packet() == b"\xb0\x02\3\4"


async def test_puback_of_a_client_is_ignored(hub):
    """Nothing was sent that could be acknowledged; the connection stays."""
    client = await hub.join()
    client.send(p.puback(77), p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def test_module_telemetry_names_its_module(hub):
    """A module publishes under its own topic."""
    client = await hub.join("press", "filter")
    client.send(p.publish("devices/press/modules/filter/messages/events/%24.on=out", b"1"))
    await client.packet()
    (message,) = hub.gateway.upstream.inbox.messages
    assert (message.device_id, message.module_id) == ("press", "filter")
    assert message.system_properties == {"output-name": "out"}
    assert message.json() == 1


async def test_random_packets_never_break_the_gateway(hub):
    """300 seeded streams of damaged packets: no callback fails, and a good client still works."""
    rng, failures = random.Random(2_021), []
    hub.gateway.log.setLevel("CRITICAL")  # a hundred thousand lines are another test's business
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    good = [
        p.publish(TOPIC + "a=b", b"x" * 300),
        p.publish("nowhere", qos=0),
        p.subscribe(("a/+/#", 1), ("b", 2)),
        p.unsubscribe("a", "b"),
        p.PINGREQ,
        p.puback(1),
    ]
    for _ in range(300):
        client = await hub.join(present=False, keep_alive=5)
        stream = bytearray(b"".join(rng.choice(good) for _ in range(20)))
        for _ in range(rng.randint(1, 6)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        client.send(bytes(stream) + rng.randbytes(rng.randint(0, 40)))
        client.raw(client.close_notify())
        await client.rest()
    assert failures == []
    client = await hub.join()
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
