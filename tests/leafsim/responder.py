"""A real TLS server on loopback that answers MQTT just enough for a leaf, and remembers what it was told.

It reads packets with its own few lines (MQTT 3.1.1, sections 2 and 3), so that what the leaf sends is judged by bytes
and not by another part of this project.
"""

import queue
import select
import socket
import ssl
import struct
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certs import Chain

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14
PATIENCE = 10.0


@dataclass(frozen=True)
class Connect:
    """The fields of a CONNECT packet."""

    protocol: str
    level: int
    flags: int
    keep_alive: int
    client_id: str
    username: str | None
    password: str | None


@dataclass(frozen=True)
class Publish:
    """The fields of a PUBLISH packet with QoS 1."""

    topic: str
    packet_id: int
    body: bytes
    header: int


class Responder:
    """Serves one chain. `manner` is how it treats whoever comes:

    mqtt      speaks MQTT and answers CONNECT with `connack`
    hang-up   closes after CONNECT, without an answer
    mute      completes the handshake and says nothing
    silent    accepts TCP and says nothing
    slam      accepts TCP and closes
    plain     answers the handshake with something that is no TLS
    garbage   answers CONNECT with a packet that is no MQTT
    """

    def __init__(self, chain: Chain, *, manner="mqtt", connack=0, session_present=False, acknowledge=True, adjust=None):
        self.manner, self.connack, self.session_present = manner, connack, session_present
        self.acknowledge = acknowledge
        self.server_names: list[str | None] = []
        self.alerts: list[str] = []
        self.client_certificates: list[dict] = []
        self.packets: list[tuple[int, object]] = []
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._lines: list[Line] = []
        self._context = _context(chain)
        self._context.sni_callback = lambda _s, name, _c: self._note(self.server_names, name)
        if adjust:
            adjust(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="responder")]
        self._threads[0].start()

    def close(self):
        """Stop listening, drop everybody, and wait until every thread has ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.drop()
        for thread in self._threads[1:]:
            thread.join()
        for one in (*self._open, *self._lines):
            one.close()

    def drop(self):
        """Take the line away from everybody who is there now."""
        for one in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def held(self) -> list[socket.socket]:
        """Return the sockets that were opened for everybody who ever came."""
        return [*self._open, *(one for line in self._lines for one in line.sockets)]

    def push(self, topic: str, body: bytes):
        """Send a QoS 0 message to everybody."""
        name = topic.encode()
        payload = struct.pack(">H", len(name)) + name + body
        for line in list(self._lines):
            line.send(bytes([PUBLISH << 4]) + _length(len(payload)) + payload)

    def wait(self, kind: int, count: int = 1) -> list:
        """Wait for packets of a kind; returns what was read from them."""

        def found():
            return [packet for number, packet in self.packets if number == kind]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, PATIENCE), f"only {self.packets}"
            return found()

    def wait_alert(self) -> str:
        """Wait for a handshake to fail; returns the name of the client's alert, or "eof"."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.alerts, PATIENCE), "no handshake failed"
            return self.alerts[-1]

    def wait_name(self):
        """Wait for a ClientHello; returns its server name."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.server_names, PATIENCE), "nobody came"
            return self.server_names[-1]

    def _accept(self):
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(one,), name="responder-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket):
        self._open.append(plain)
        if self.manner == "slam":
            # With a reset, so that the leaf learns it at once, whatever it is doing.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.close()
            return
        if self.manner == "plain":
            plain.recv(1)
            plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        if self.manner == "silent":
            return
        try:
            secure = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self._open[self._open.index(plain)] = secure
            secure.do_handshake()
        except OSError as error:
            reason = (getattr(error, "reason", None) or "").partition("ALERT_")[2].lower()
            self._note(self.alerts, reason or "eof")
            return
        if certificate := secure.getpeercert():
            self.client_certificates.append(certificate)
        line = Line(secure)
        self._lines.append(line)
        with suppress(OSError, EOFError):
            self._talk(line, secure)

    def _talk(self, line: "Line", secure: ssl.SSLSocket):
        while True:
            line.wait()
            header, body = _read_packet(secure)
            kind = header >> 4
            packet = _parse(header, body)
            if self.manner == "mute":
                continue
            self._note(self.packets, (kind, packet))
            if kind == CONNECT and self.manner == "hang-up":
                secure.unwrap() if secure.version() == "TLSv1.2" else None
                socket.socket.shutdown(secure, socket.SHUT_RDWR)
                return
            if kind == CONNECT and self.manner == "garbage":
                secure.sendall(bytes([CONNACK << 4, 0]))
            elif kind == CONNECT:
                secure.sendall(bytes([CONNACK << 4, 2, int(self.session_present), self.connack]))
            elif kind == PUBLISH and self.acknowledge:
                secure.sendall(bytes([PUBACK << 4, 2]) + struct.pack(">H", packet.packet_id))
            elif kind == SUBSCRIBE and self.acknowledge:
                granted = [0x80 if one.startswith("refused") else 1 for one in packet["filters"]]
                secure.sendall(
                    bytes([SUBACK << 4, 2 + len(granted)]) + struct.pack(">H", packet["id"]) + bytes(granted)
                )

    def _note(self, where: list, what):
        with self._changed:
            where.append(what)
            self._changed.notify_all()


class Line:
    """What other threads want to send on a connection: only its own may use it, as OpenSSL demands."""

    def __init__(self, secure: ssl.SSLSocket):
        self._secure = secure
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._wake, self._woken = self.sockets = socket.socketpair()

    def send(self, packet: bytes):
        """Have the connection's thread send a packet."""
        self._outbox.put(packet)
        self._wake.send(b"!")

    def wait(self):
        """Send what is wanted until something arrives."""
        while not self._secure.pending():
            ready, _, _ = select.select([self._secure, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(1)
                self._secure.sendall(self._outbox.get())
            if self._secure in ready:
                return

    def close(self):
        """Let go of the sockets, once the connection's thread has ended."""
        self._wake.close()
        self._woken.close()


def _context(chain: Chain) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as served:
        Path(served.name).write_bytes(chain.sent_pem + chain.key_pem)
        context.load_cert_chain(served.name)
    return context


def _read(secure: ssl.SSLSocket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = secure.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _read_packet(secure: ssl.SSLSocket) -> tuple[int, bytes]:
    header, length, shift = _read(secure, 1)[0], 0, 0
    while True:
        (digit,) = _read(secure, 1)
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return header, _read(secure, length)


def _length(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


def _text(body: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">H", body, at)
    return body[at + 2 : at + 2 + size].decode(), at + 2 + size


def _parse(header: int, body: bytes):
    kind = header >> 4
    if kind == CONNECT:
        return _parse_connect(body)
    if kind == PUBLISH:
        topic, at = _text(body, 0)
        return Publish(topic, struct.unpack_from(">H", body, at)[0], body[at + 2 :], header)
    if kind == SUBSCRIBE:
        filters, at = [], 2
        while at < len(body):
            one, at = _text(body, at)
            filters.append(one)
            at += 1
        return {"id": struct.unpack_from(">H", body)[0], "filters": filters}
    return body


def _parse_connect(body: bytes) -> Connect:
    protocol, at = _text(body, 0)
    level, flags, keep_alive = struct.unpack_from(">BBH", body, at)
    client_id, at = _text(body, at + 4)
    username = password = None
    if flags & 0x80:
        username, at = _text(body, at)
    if flags & 0x40:
        password, at = _text(body, at)
    assert at == len(body), "something is left in CONNECT"
    return Connect(protocol, level, flags, keep_alive, client_id, username, password)
