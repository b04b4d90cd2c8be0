"""MQTT 3.1.1 on the wire: bytes to facts and back.

Rule: everything malformed is found here and raised as MalformedPacketError; the connection then closes, as the
product's decoder does. Section numbers are those of the OASIS standard MQTT 3.1.1.
"""

from __future__ import annotations

from typing import Final

from gateway.hub.connect import Connect, Will

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
PUBREC, PUBREL, PUBCOMP = 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

PINGRESP_PACKET: Final = b"\xd0\x00"


class MalformedPacketError(ValueError):
    """The peer broke the protocol; the message says how."""


class UnsupportedProtocolError(ValueError):
    """CONNECT for another protocol; `level` is None when the protocol name itself is not MQTT."""

    def __init__(self, level: int | None) -> None:
        self.level = level
        super().__init__("the protocol name is not MQTT" if level is None else f"protocol level {level}, not 4")


def read_length(data: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """The remaining length at `position` and where the body starts; None when more bytes are needed (2.2.3)."""
    length = 0
    for shift, index in zip((0, 7, 14, 21), range(position, len(data)), strict=False):
        byte = data[index]
        length |= (byte & 127) << shift
        if byte < 128:
            return length, index + 1
    if len(data) - position >= 4:
        raise MalformedPacketError("the remaining length is longer than four bytes")
    return None


def read_connect(body: bytes) -> Connect:
    """Read the body of a CONNECT packet (3.1)."""
    name, position = _binary(body, 0)
    if name != b"MQTT":
        raise UnsupportedProtocolError(None)
    if len(body) < position + 4:
        raise MalformedPacketError("CONNECT ends inside its variable header")
    level, flags = body[position], body[position + 1]
    if level != 4:
        raise UnsupportedProtocolError(level)
    _check_connect_flags(flags)
    keep_alive = int.from_bytes(body[position + 2 : position + 4], "big")
    client_id, position = read_text(body, position + 4)
    will, username, password = None, None, None
    if flags & 0x04:
        will_topic, position = read_text(body, position)
        will_payload, position = _binary(body, position)
        will = Will(will_topic, will_payload, flags >> 3 & 3, bool(flags & 0x20))
    if flags & 0x80:
        username, position = read_text(body, position)
    if flags & 0x40:
        password, position = _binary(body, position)
    if position != len(body):
        raise MalformedPacketError("CONNECT is longer than its fields")
    if not client_id and not flags & 0x02:
        raise MalformedPacketError("an empty client id needs a clean session")
    return Connect(client_id, username, password, bool(flags & 0x02), keep_alive, will)


def _check_connect_flags(flags: int) -> None:
    if flags & 0x01:
        raise MalformedPacketError("the reserved CONNECT flag is set")
    if flags & 0x40 and not flags & 0x80:
        raise MalformedPacketError("a password without a user name")
    will, will_qos = flags & 0x04, flags >> 3 & 3
    if will_qos == 3 or (not will and flags & 0x38):
        raise MalformedPacketError("the will flags contradict each other")


def read_subscribe(header: int, body: bytes) -> tuple[bytes, list[tuple[str, int]]]:
    """Read a SUBSCRIBE: its packet id (two bytes) and the filters with the QoS asked for (3.8)."""
    packet_id, position = _packet_id_of(header, body)
    filters: list[tuple[str, int]] = []
    while position < len(body):
        topic_filter, position = read_text(body, position)
        if position >= len(body) or body[position] > 2:
            raise MalformedPacketError("a topic filter without a valid QoS")
        filters.append((_checked_filter(topic_filter), body[position]))
        position += 1
    if not filters:
        raise MalformedPacketError("SUBSCRIBE without a topic filter")
    return packet_id, filters


def read_unsubscribe(header: int, body: bytes) -> tuple[bytes, list[str]]:
    """Read an UNSUBSCRIBE: its packet id (two bytes) and the filters (3.10)."""
    packet_id, position = _packet_id_of(header, body)
    filters: list[str] = []
    while position < len(body):
        topic_filter, position = read_text(body, position)
        filters.append(_checked_filter(topic_filter))
    if not filters:
        raise MalformedPacketError("UNSUBSCRIBE without a topic filter")
    return packet_id, filters


def read_topic(raw: bytes) -> str:
    """A topic name to publish to: UTF-8, not empty, without wildcards or NUL (3.3.2.1, 4.7)."""
    topic = _utf8(raw)
    if not topic or "#" in topic or "+" in topic:
        raise MalformedPacketError("a topic name that is empty or holds a wildcard")
    return topic


def read_text(data: bytes, position: int) -> tuple[str, int]:
    """A UTF-8 encoded string at `position` and where it ends (1.5.3)."""
    raw, end = _binary(data, position)
    return _utf8(raw), end


def connack(code: int, *, session_present: bool = False) -> bytes:
    """A CONNACK; a refusal never says that a session is present (3.2.2.2)."""
    return bytes((CONNACK << 4, 2, int(session_present and code == 0), code))


def publish(topic: str, payload: bytes, qos: int) -> bytes:
    """A PUBLISH from the hub: never retained, never a repeated one, and with packet id 1 always.

    The product takes the id from a sequence number that Edge Hub never sets (Util.cs of
    Azure/azure-iot-protocol-gateway). `topic` has at most 65,535 bytes.
    """
    name = topic.encode()
    start = len(name).to_bytes(2, "big") + name + (b"\0\1" if qos else b"")
    return bytes((PUBLISH << 4 | qos << 1,)) + encode_length(len(start) + len(payload)) + start + payload


def suback(packet_id: bytes, granted: list[int]) -> bytes:
    """A SUBACK with the QoS granted for each filter."""
    return bytes((SUBACK << 4,)) + encode_length(2 + len(granted)) + packet_id + bytes(granted)


def unsuback(packet_id: bytes) -> bytes:
    """An UNSUBACK."""
    return bytes((UNSUBACK << 4, 2)) + packet_id


def encode_length(length: int) -> bytes:
    """A remaining length as one to four bytes (2.2.3)."""
    encoded = bytearray()
    while True:
        length, byte = length >> 7, length & 127
        encoded.append(byte | (128 if length else 0))
        if not length:
            return bytes(encoded)


def _packet_id_of(header: int, body: bytes) -> tuple[bytes, int]:
    if header & 0x0F != 2:
        raise MalformedPacketError("reserved header flags of a subscription are not 0010")
    packet_id = body[:2]
    if len(packet_id) < 2 or packet_id == b"\0\0":
        raise MalformedPacketError("a subscription without a packet id")
    return packet_id, 2


def _checked_filter(topic_filter: str) -> str:
    levels = topic_filter.split("/")
    hash_is_last = all(
        "#" not in level or (level == "#" and index == len(levels) - 1) for index, level in enumerate(levels)
    )
    if not topic_filter or not hash_is_last or any("+" in level and level != "+" for level in levels):
        raise MalformedPacketError("a topic filter that is empty or has a wildcard in the wrong place")
    return topic_filter


def _binary(data: bytes, position: int) -> tuple[bytes, int]:
    start = position + 2
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data):
        raise MalformedPacketError("a field is longer than its packet")
    return data[start:end], end


def _utf8(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPacketError("a string is not UTF-8") from None
    if "\0" in text:
        raise MalformedPacketError("a string holds NUL")
    return text
