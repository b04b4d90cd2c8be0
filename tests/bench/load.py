"""The load: raw MQTT 3.1.1 clients over TLS, many on one selector, as cheap as Python makes them.

Every packet travels in a TLS record of its own, as client libraries send them; records that are due together leave in
one segment. PUBACKs are compared byte by byte, order included, so that a wrong server fails the bench.
"""

import json
import selectors
import socket
import ssl
import time
from itertools import islice

from tests.gateway import packets

ACCEPTED = b"\x20\x02\x00\x00"
#: packet ids go round; larger than any window, so that none is in use twice
_RING = 64


class LoadError(Exception):
    """A server did not do its work, so that its figures mean nothing."""


class Device:
    """A device with its CONNECT and its PUBLISH packets, ready to be sent."""

    def __init__(self, device_id, connection_string, body_size=200, bag=""):
        self.id = device_id
        fields = dict(part.split("=", 1) for part in connection_string.split(";"))
        hub = fields["HostName"]
        token = packets.sas(f"{hub}/devices/{device_id}", fields["SharedAccessKey"], int(time.time()) + 86_400)
        username = f"{hub}/{device_id}/?api-version=2021-04-12"
        self.connect = packets.connect(device_id, username, token, clean=True, keep_alive=600)
        body = json.dumps({"temperature": 21.5, "note": ""}).encode()
        body = body.replace(b'""', b'"%s"' % (b"x" * (body_size - len(body))))
        topic = f"devices/{device_id}/messages/events/{bag}"
        self.publish = [packets.publish(topic, body, packet_id=number) for number in range(1, _RING + 1)]


class Leaf:
    """One connection."""

    def __init__(self, port, context, device):
        self.device = device
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._handshaken = False
        self.connected = False
        self.open = True
        self.sent = self.acknowledged = 0
        self._rest = b""
        self._handshake()

    def fileno(self):
        """The socket, for a selector."""
        return self.socket.fileno()

    def send(self, *each):
        """One record per packet, one segment."""
        for packet in each:
            self._tls.write(packet)
        self._push()

    def receive(self):
        """Take in what has arrived; returns the plain bytes. `open` turns false when the server has closed."""
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return b""
        if not data:
            self.open = False
            return b""
        self._in.write(data)
        if not self._handshaken and not self._handshake():
            return b""
        plain = self._read()
        if self.connected or not plain:
            return plain
        if plain != ACCEPTED:
            raise LoadError(f"CONNECT of {self.device.connect[14:40]!r} was answered {plain.hex(' ')}")
        self.connected = True
        return b""

    def fill(self, window, budget):
        """Publish until `window` messages wait for their PUBACK or `budget` have been sent."""
        count = min(window - (self.sent - self.acknowledged), budget - self.sent)
        if count <= 0:
            return
        ring = self.device.publish
        self.send(*(ring[number % _RING] for number in range(self.sent, self.sent + count)))
        self.sent += count

    def take_acknowledgements(self, data):
        """Count PUBACKs; each must be the next one due."""
        data = self._rest + data
        whole = len(data) // 4
        start = self.acknowledged % _RING * 4
        if data[: whole * 4] != _PUBACKS[start : start + whole * 4]:
            raise LoadError(f"PUBACKs are missing or out of order: {data.hex(' ')}")
        self._rest = data[whole * 4 :]
        self.acknowledged += whole

    def close(self):
        """Close without a word."""
        self.socket.close()

    def _handshake(self):
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
            return False
        self._handshaken = True
        self.send(self.device.connect)
        return True

    def _read(self):
        chunks = []
        try:
            while chunk := self._tls.read(65_536):
                chunks.append(chunk)
            self.open = False
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.open = False
        return b"".join(chunks)

    def _push(self):
        if data := self._out.read():
            sent = self.socket.send(data)
            if sent != len(data):
                raise LoadError("the server stopped reading")


_PUBACKS = b"".join(packets.puback(number) for number in range(1, _RING + 1)) * 2


def context(root_pem):
    """Trust the chain's root, TLS 1.3; every handshake is a full one."""
    made = ssl.create_default_context(cadata=root_pem.decode())
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def connect_all(port, tls, devices, at_once=16):
    """Connect every device; returns the open connections."""
    opened, pending = [], iter(devices)
    with selectors.DefaultSelector() as selector:
        for device in islice(pending, at_once):
            selector.register(leaf := Leaf(port, tls, device), selectors.EVENT_READ, leaf)
        while selector.get_map():
            for key, _ in _ready(selector):
                leaf = key.data
                leaf.receive()
                _must_be_open(leaf)
                if leaf.connected:
                    selector.unregister(leaf)
                    opened.append(leaf)
                    for device in islice(pending, 1):
                        selector.register(leaf := Leaf(port, tls, device), selectors.EVENT_READ, leaf)
    return opened


def connect_and_leave(port, tls, devices, at_once=4):
    """Connect, DISCONNECT and wait until the server closes, for every device in turn."""
    pending = iter(devices)
    with selectors.DefaultSelector() as selector:
        for device in islice(pending, at_once):
            selector.register(leaf := Leaf(port, tls, device), selectors.EVENT_READ, leaf)
        while selector.get_map():
            for key, _ in _ready(selector):
                leaf = key.data
                if leaf.connected:
                    leaf.receive()
                else:
                    leaf.receive()
                    _must_be_open(leaf)
                    if leaf.connected:
                        leaf.send(packets.DISCONNECT)
                if not leaf.open:
                    selector.unregister(leaf)
                    leaf.close()
                    for device in islice(pending, 1):
                        selector.register(leaf := Leaf(port, tls, device), selectors.EVENT_READ, leaf)


def publish(leaves, window, messages):
    """Publish `messages` in all with QoS 1, each leaf keeping `window` unacknowledged; ends with the last PUBACK."""
    share = messages // len(leaves)
    with selectors.DefaultSelector() as selector:
        for leaf in leaves:
            leaf.sent = leaf.acknowledged = 0
            selector.register(leaf, selectors.EVENT_READ, leaf)
        for leaf in leaves:
            leaf.fill(window, share)
        left = len(leaves)
        while left:
            for key, _ in _ready(selector):
                leaf = key.data
                leaf.take_acknowledgements(leaf.receive())
                _must_be_open(leaf)
                leaf.fill(window, share)
                left -= leaf.acknowledged == share and leaf.sent == share and _done(selector, leaf)
    return share * len(leaves)


def ask_for_twins(leaves, requests):
    """Ask for `requests` twins in all, each leaf one at a time: PUBACK and the answer make one request."""
    share = requests // len(leaves)
    ask = packets.publish("$iothub/twin/GET/?$rid=1", b" ", packet_id=1)
    answered = packets.puback(1)

    def take(leaf, packet):
        if packet == answered:
            return False
        if not packet[4:].startswith(b"$iothub/twin/res/200/?$rid=1"):
            raise LoadError(f"a twin request was answered {packet[:40]!r}")
        if leaf.sent < share:
            leaf.sent += 1
            leaf.send(ask)
        return True

    for leaf in leaves:
        leaf.sent = 1
        leaf.send(ask)
    return _serve(leaves, share, take)


def answer_methods(leaves, calls):
    """Answer `calls` direct methods in all."""

    def take(leaf, packet):
        start = 2 + (packet[1] > 127)
        topic = packet[start + 2 : start + 2 + int.from_bytes(packet[start : start + 2], "big")].decode()
        request_id = topic.rpartition("=")[2]
        leaf.send(packets.publish(f"$iothub/methods/res/200/?$rid={request_id}", b"{}", qos=0))
        return True

    return _serve(leaves, calls // len(leaves), take)


def take_commands(leaves, commands):
    """Acknowledge `commands` cloud-to-device messages in all."""

    def take(leaf, packet):
        leaf.send(packets.puback(1))
        return True

    return _serve(leaves, commands // len(leaves), take)


def subscribe(leaves, topic_filter, qos):
    """Subscribe every leaf; `{id}` in the filter becomes its device id."""
    for leaf in leaves:
        leaf.send(packets.subscribe((topic_filter.replace("{id}", leaf.device.id), qos)))
    return _serve(leaves, 1, lambda leaf, packet: packet[0] == 0x90)


def _serve(leaves, share, take):
    """Give every packet to `take(leaf, packet)` until it has counted `share` for each leaf."""
    counts = dict.fromkeys(leaves, 0)
    rests = dict.fromkeys(leaves, b"")
    with selectors.DefaultSelector() as selector:
        for leaf in leaves:
            selector.register(leaf, selectors.EVENT_READ, leaf)
        while selector.get_map():
            for key, _ in _ready(selector):
                leaf = key.data
                rests[leaf] = _packets(rests[leaf] + leaf.receive(), found := [])
                _must_be_open(leaf)
                counts[leaf] += sum(take(leaf, packet) for packet in found)
                if counts[leaf] >= share:
                    selector.unregister(leaf)
    return share * len(leaves)


def _packets(data, found):
    """Append the whole packets in `data` to `found`; returns the rest."""
    position = 0
    while len(data) - position >= 2:
        length, start = data[position + 1], position + 2
        if length > 127:
            if len(data) - position < 3:
                break
            length, start = length & 127 | data[position + 2] << 7, position + 3
        if start + length > len(data):
            break
        found.append(data[position : start + length])
        position = start + length
    return data[position:]


def _done(selector, leaf):
    selector.unregister(leaf)
    return True


def _must_be_open(leaf):
    if not leaf.open:
        raise LoadError("the server closed a connection")


def _ready(selector, patience=30):
    events = selector.select(patience)
    if not events:
        raise LoadError(f"the server has been silent for {patience} s")
    return events
