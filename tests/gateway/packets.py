"""MQTT 3.1.1 packets as bytes, right or wrong, and SAS tokens: a reading of the protocol that shares nothing with the
gateway's own."""

import base64
import hashlib
import hmac
from urllib.parse import quote

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"


def remaining(length):
    """A remaining length as MQTT 2.2.3 writes it."""
    out = bytearray()
    while True:
        length, digit = divmod(length, 128)
        out.append(digit | (128 if length else 0))
        if not length:
            return bytes(out)


def field(value):
    """A field with its length in front; text becomes UTF-8."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def packet(header, body=b""):
    """A packet with this first byte and body."""
    return bytes([header]) + remaining(len(body)) + body


def connect(
    client_id="press",
    username="hub.leafgate.test/press/?api-version=2021-04-12",
    password=None,
    *,
    clean=True,
    keep_alive=60,
    will=None,
    name="MQTT",
    level=4,
    flags=None,
):
    """A CONNECT; `will` is (topic, payload), `flags` overrides the flags that the fields would need."""
    bits = 2 * clean | 4 * (will is not None) | 128 * (username is not None) | 64 * (password is not None)
    body = field(name) + bytes([level, bits if flags is None else flags]) + keep_alive.to_bytes(2, "big")
    fields = [client_id, *(will or ()), username, password]
    return packet(0x10, body + b"".join(field(one) for one in fields if one is not None))


def publish(topic="devices/press/messages/events/", body=b"{}", *, qos=1, packet_id=1, retain=False, dup=False):
    """A PUBLISH."""
    identifier = packet_id.to_bytes(2, "big") if qos else b""
    return packet(0x30 | 8 * dup | qos << 1 | retain, field(topic) + identifier + body)


def puback(packet_id=1):
    """The answer to a PUBLISH."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def subscribe(*filters, packet_id=1):
    """A SUBSCRIBE of (filter, qos) pairs."""
    return packet(0x82, packet_id.to_bytes(2, "big") + b"".join(field(name) + bytes([qos]) for name, qos in filters))


def unsubscribe(*filters, packet_id=1):
    """An UNSUBSCRIBE."""
    return packet(0xA2, packet_id.to_bytes(2, "big") + b"".join(field(name) for name in filters))


def sas(resource, key, expiry):
    """A SAS token; `resource` is signed as it goes on the wire, escaped."""
    escaped, until = quote(resource, safe=""), str(expiry)
    digest = hmac.new(base64.b64decode(key), f"{escaped}\n{until}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={escaped}&sig={signature}&se={until}"


def read_publish(packet):
    """Topic, QoS and body of a PUBLISH; one with QoS 1 has packet id 1, and neither is retained or a repeated one."""
    assert packet[0] & 0xF9 == 0x30, packet
    start = next(index for index in range(1, 5) if packet[index] < 128) + 1
    length = int.from_bytes(packet[start : start + 2], "big")
    body = start + 2 + length
    qos = packet[0] >> 1 & 3
    if qos:
        assert packet[body : body + 2] == b"\0\1"
        body += 2
    return packet[start + 2 : start + 2 + length].decode(), qos, packet[body:]
