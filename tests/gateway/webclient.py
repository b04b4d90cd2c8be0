"""HTTP requests and WebSocket frames as bytes, right or wrong, and what comes back: a reading of RFC 9112 and RFC 6455
that shares nothing with the gateway's own."""

import base64
import hashlib

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def request(method="GET", path="/", body=b"", *, host="hub.leafgate.test", headers=(), length=None):
    """A request; `headers` are (name, value) pairs on top of Host and Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def upgrade(path="/$iothub/websocket", *, protocol="mqtt", name="Sec-WebSocket-Protocol", headers=(), **changed):
    """A WebSocket's opening request; a changed header may be None to leave it out."""
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        name: protocol,
    }
    fields |= {key.replace("_", "-"): value for key, value in changed.items()}
    return request("GET", path, headers=[*((key, value) for key, value in fields.items() if value), *headers])


def accept_key(key=KEY):
    """What has to come back for a key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return base64.b64encode(digest).decode()


def frame(opcode, payload=b"", *, final=True, mask=b"\x11\x22\x33\x44", reserved=0, length=None):
    """A frame as a client sends it; `mask` None leaves it unmasked, `length` may lie in 64 bits."""
    size = len(payload) if length is None else length
    bit = 128 if mask else 0
    if length is not None or size > 65535:
        head = bytes([bit | 127]) + size.to_bytes(8, "big")
    elif size > 125:
        head = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([bit | size])
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if mask else payload
    return bytes([128 * final | reserved | opcode]) + head + (mask or b"") + masked


def binary(*packets):
    """Packets in one binary frame."""
    return frame(BINARY, b"".join(packets))


class Web:
    """A connection to the HTTPS port; everything is sent as it is."""

    def __init__(self, client):
        self.client = client

    def send(self, *data):
        """Send bytes, each piece in a TLS record of its own."""
        self.client.send(*data)

    async def response(self):
        """The next HTTP response as (status, headers, body)."""
        head = (await self.client.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self.client.exactly(int(headers.get("content-length", 0)))
        return status, headers, body

    async def frame(self):
        """The next frame as (opcode, payload); the gateway's are whole and not masked."""
        first, second = await self.client.exactly(2)
        assert first & 0xF0 == 0x80
        assert second < 128
        size = second
        if size > 125:
            size = int.from_bytes(await self.client.exactly(2 if size == 126 else 8), "big")
        return first & 15, await self.client.exactly(size)

    async def packet(self):
        """The next MQTT packet, which has a binary frame to itself."""
        opcode, payload = await self.frame()
        assert opcode == BINARY
        return payload

    async def eof(self):
        """Wait until the gateway closes; anything it says before that fails the test."""
        await self.client.eof()

    async def rest(self):
        """Every byte until the gateway closes."""
        return await self.client.rest()

    def abort(self):
        """Close the socket without a word."""
        self.client.abort()
