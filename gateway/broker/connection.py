"""One client's connection: packets, and what each packet does.

Rules: nothing is answered before CONNECT has been accepted; a malformed packet closes the connection; one client can
neither grow the gateway's memory beyond one packet and one socket buffer nor make others wait.
Sources for the behaviour: MqttAdapter.cs in Azure/azure-iot-protocol-gateway, MQTT 3.1.1.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker import wire
from gateway.broker.failures import WithheldError
from gateway.broker.secured import CLOSED, JUDGING, OPEN, WAITING, Secured
from gateway.broker.sessions import LeafSession
from gateway.broker.tls import PeerFacts
from gateway.errors import StoreError
from gateway.hub.clients import Client
from gateway.hub.connect import ConnackCode, Connect, Verdict
from gateway.hub.rules import Proof

if TYPE_CHECKING:
    from gateway.broker.carrier import Carriers
    from gateway.broker.server import Server

#: what a peer may send before its CONNECT has been answered, until we stop reading from it
_EARLY_LIMIT: Final = 65_536
#: seconds that a peer gets to read our last words
_LINGER: Final = 5.0


class Connection(Secured):
    """A connection from accept to close."""

    __slots__ = (
        "_client", "_connect", "_late", "_partial", "_session", "_wanted", "limit", "pending",
    )  # fmt: skip

    def __init__(self, server: Server, carriers: Carriers | None = None) -> None:
        super().__init__(server)
        self._session: LeafSession | None = None
        self._client: Client | None = None
        self._connect: Connect | None = None
        self._partial: bytearray | None = None  # the beginning of a packet whose rest has not arrived
        self._wanted = 2  # bytes that must be there before parsing goes on
        self._late = False  # the answer to CONNECT did not come at once
        self.pending: list[bytes] = []  # packets to be sent with the next flush
        self.limit = server.settings.connect_timeout  # seconds of silence after which the connection ends
        self.carrier = None if carriers is None else carriers(self)

    @property
    def client_id(self) -> str | None:
        """The client id, once CONNECT has been read."""
        return self._connect.client_id if self._connect else None

    @property
    def client(self) -> Client:
        """What the hub knows of the client, once it is connected."""
        assert self._client is not None
        return self._client

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.writable = True
        self._transport.resume_reading()
        if self._client is not None:
            self._server.edge.readable(self._client)

    def _consume(self, plain: bytes) -> None:
        try:
            if self._state == JUDGING:
                self._wait_with(plain)
            else:
                self._feed(plain)
        except wire.MalformedPacketError as wrong:
            self._reject(None, f"malformed packet: {wrong}")
        if self.pending:
            self.flush()
        if self.carrier is not None:
            self.speak()

    # -- packets --------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if self._partial is not None:
            self._partial += data
            if len(self._partial) < self._wanted:
                return
            data, self._partial = bytes(self._partial), None
        position, size, largest = 0, len(data), self._server.settings.max_packet_size
        self._wanted = 2
        while size - position >= 2 and self._state not in (JUDGING, CLOSED):
            length, start = data[position + 1], position + 2
            if length > 127 and size - position > 2 and data[position + 2] < 128:
                length, start = length & 127 | data[position + 2] << 7, position + 3  # nearly every PUBLISH: inlined
            elif length > 127:
                found = wire.read_length(data, position + 1)
                if found is None:
                    self._wanted = size - position + 1
                    break
                length, start = found
            end = start + length
            if end - position > largest:
                self._reject(None, f"a packet of {end - position} bytes; {largest} is the most")
                return
            if end > size:
                self._wanted = end - position
                break
            self._packet(data[position], data, start, end)
            position = end
        if self._state == JUDGING:
            self._wait_with(data[position:])
        elif self._state != CLOSED:
            if position < size:
                self._partial = bytearray(data[position:])
            if position:  # a whole packet came: pieces of one keep nobody alive (3.1.2.10)
                self.deadline = self._server.clock.monotonic() + self.limit

    def _wait_with(self, data: bytes) -> None:
        """Keep what came behind a CONNECT that has no answer yet; leave the rest with the peer."""
        self.deadline = math.inf  # CONNECT has arrived: the time that is left is the judgement's
        self._partial = (self._partial or bytearray()) + data
        if len(self._partial) > _EARLY_LIMIT:
            self._transport.pause_reading()

    def _packet(self, header: int, data: bytes, start: int, end: int) -> None:
        kind = header >> 4
        if self._state != OPEN:
            self._first_packet(header, data[start:end])
        elif kind == wire.PUBLISH:
            self._publish(header, data, start, end)
        elif kind == wire.SUBSCRIBE:
            self._subscribe(*wire.read_subscribe(header, data[start:end]))
        elif kind == wire.UNSUBSCRIBE:
            self._unsubscribe(*wire.read_unsubscribe(header, data[start:end]))
        elif header == wire.PINGREQ << 4 and start == end:
            self.pending.append(wire.PINGRESP_PACKET)
        elif header == wire.DISCONNECT << 4 and start == end:
            self._connect = None  # an orderly end: the will is not to be sent (3.14.4)
            self.end("")
        elif header == wire.PUBACK << 4 and end - start == 2:
            self._acknowledged(data[start:end])
        elif kind == wire.CONNECT:
            raise wire.MalformedPacketError("a second CONNECT")
        else:
            raise wire.MalformedPacketError(f"a packet of type {kind} with flags {header & 15:04b}")

    def _first_packet(self, header: int, body: bytes) -> None:
        if header != wire.CONNECT << 4:
            raise wire.MalformedPacketError("the first packet is not CONNECT")
        try:
            self._connect = connect = wire.read_connect(body)
        except wire.UnsupportedProtocolError as other:
            # Another protocol name gets no answer at all, another level gets CONNACK 1.
            code = None if other.level is None else ConnackCode.UNACCEPTABLE_PROTOCOL
            self._reject(code, str(other))
            return
        facts = self._tls.peer()
        self._state = JUDGING
        self._server.admission.judge(connect, facts.certificates, partial(self._judged, connect, facts))
        self._late = self._state == JUDGING

    def _judged(self, connect: Connect, facts: PeerFacts, verdict: Verdict) -> None:
        """CONNECT has its answer; the client may have left since."""
        if self._state != JUDGING:
            return
        verdict = self._server.faults.judged(self, connect.client_id, verdict)
        if verdict.code is ConnackCode.ACCEPTED:
            assert verdict.proof is not None
            self._open(connect, verdict.proof, facts)
        else:
            self._connect, self._state = None, WAITING
            self._reject(verdict.code, verdict.reason, connect)
        if self._late and self._state == OPEN:
            waiting, self._partial, self._late = bytes(self._partial or b""), None, False
            self.deadline = self._server.clock.monotonic() + self.limit
            self._transport.resume_reading()
            self._consume(waiting)

    def _open(self, connect: Connect, proof: Proof, facts: PeerFacts) -> None:
        server = self._server
        self._state = OPEN
        patience = connect.keep_alive * 1.5 or server.settings.max_keep_alive
        self.limit = min(patience, server.settings.max_keep_alive)
        self._session, present, previous = server.sessions.open(connect, self, self.address)
        self.pending.append(wire.connack(0, session_present=present))
        server.report.connected(self, connect, facts)
        if previous is not None:
            self.flush()  # the newcomer has its CONNACK before the old connection closes
            previous.displace()
        self._client = Client(proof.identity, self, self._session.subscriptions, proof)
        server.edge.connected(self._client)

    def _publish(self, header: int, data: bytes, start: int, end: int) -> None:
        qos = header >> 1 & 3
        topic_end = start + 2 + (data[start] << 8 | data[start + 1]) if end - start >= 2 else end + 1
        body = topic_end + 2 if qos else topic_end
        if body > end or qos == 3:
            raise wire.MalformedPacketError("a PUBLISH that ends early, or asks for QoS 3")
        packet_id = data[topic_end:body] if qos else None
        if packet_id == b"\0\0" or (header & 0x08 and not qos):
            raise wire.MalformedPacketError("a PUBLISH with packet id 0, or a repeated one of QoS 0")
        acknowledged, topic = packet_id if qos == 1 else None, data[start + 2 : topic_end]
        if topic.startswith(b"$iothub/"):
            then = self._server.request(self, topic, data[body:end])
            self._server.intake.accept(self, acknowledged, None, b"", then)
        else:
            try:
                telemetry = self._server.telemetry(self, topic, header)
            except WithheldError:
                return
            self._server.intake.accept(self, acknowledged, telemetry, data[body:end])
        if qos == 2:
            # The product stores the message before it notices that it does not support QoS 2.
            self.end("QoS 2 is not supported.")

    def _subscribe(self, packet_id: bytes, filters: list[tuple[str, int]]) -> None:
        assert self._session is not None
        granted = [self._server.sessions.subscribe(self._session, name, qos) for name, qos in filters]
        if not self._keep_session():
            return
        self._server.report.subscribed(self, [name for name, _ in filters])
        self.pending.append(wire.suback(packet_id, granted))
        for name, _ in filters:
            self._server.edge.subscribed(self.client, name)

    def _unsubscribe(self, packet_id: bytes, filters: list[str]) -> None:
        assert self._session is not None
        for name in filters:
            self._server.sessions.unsubscribe(self._session, name)
            self._server.edge.unsubscribed(self.client, name)
        if self._keep_session():
            self.pending.append(wire.unsuback(packet_id))

    def _keep_session(self) -> bool:
        """Store what was subscribed before it is acknowledged; without the store, the connection ends."""
        assert self._session is not None
        try:
            self._server.sessions.keep(self._session)
        except StoreError as error:
            self._server.report.store_failed(error)
            self.end(f"the session could not be stored: {error.message}")
            return False
        return True

    def _acknowledged(self, packet_id: bytes) -> None:
        if packet_id != b"\0\1" or not self.client.acknowledged():
            self._server.report.unexpected_acknowledgement(self, int.from_bytes(packet_id, "big"))

    # -- output and end -------------------------------------------------------------------------------------------

    def deliver(self, topic: str, payload: bytes, qos: int) -> None:
        """Send a PUBLISH with the next flush, which comes in this turn of the loop; it keeps the connection alive."""
        self.pending.append(wire.publish(topic, payload, qos))
        self.deadline = self._server.clock.monotonic() + self.limit
        self._server.flush_soon(self)

    def flush(self) -> None:
        """Send what is pending, in one TLS record if it fits."""
        packets, self.pending = self.pending, []
        if self.carrier is not None:
            packets = self.carrier.wrap(packets)
        if packets and self._state != CLOSED:
            self._tls.send(packets[0] if len(packets) == 1 else b"".join(packets))
            self._transport.write(self._tls.outgoing())

    def speak(self) -> None:
        """Send what the carrier says by itself, and end when it is over."""
        if self.carrier is None or self._state == CLOSED:
            return
        self.flush()
        if self.carrier.ended:
            self._reject(None, self.carrier.ended)
        elif self.carrier.ended is not None:
            self.end("Channel closed.")

    def close(self, reason: str) -> None:
        """End the connection from this side."""
        self.end(reason)

    def displace(self) -> None:
        """End the connection because its client id has connected anew; the will is not sent."""
        assert self.client_id is not None
        name, self._connect = self.client_id, None
        self._server.report.displaced(self, name)
        self._server.edge.displaced(self.client)
        self.end(f"MultipleConnectionsException: Multiple connections detected for device {name}")

    def expire(self) -> None:
        """End the connection because its deadline has passed."""
        if self._state == OPEN:
            self.end("Keep Alive timed out.")
        elif self.carrier is not None and self.carrier.expire():
            self.speak()
        else:
            self._reject(None, "Connection timed out on waiting for CONNECT")

    def _reject(self, code: int | None, reason: str, connect: Connect | None = None) -> None:
        """Turn the client away: with a CONNACK before it is connected, by closing afterwards."""
        if self._state == OPEN:
            self.end(reason)
            return
        self._server.report.refused(self, connect, code, reason)
        if code is not None:
            self.pending.append(wire.connack(code))
        self.end(reason)

    def end(self, reason: str) -> None:
        """Close; `reason` says why a session ended, empty after a DISCONNECT."""
        if self._state == CLOSED:
            return
        if self.carrier is not None:
            self.carrier.close()
        if self.pending or self.carrier is not None:
            self.flush()
        was, self._state = self._state, CLOSED
        self._server.connections.discard(self)
        self._server.closing.add(self)
        self._tls.close()
        self._send_encrypted()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._server.loop.call_later(_LINGER, self.abort)
        if was == OPEN:
            self._end_session(reason)
        elif was == JUDGING:
            self._server.report.refused(self, None, None, reason)

    def _end_session(self, reason: str) -> None:
        assert self._session is not None
        self._server.edge.disconnected(self.client)
        self._server.sessions.close(self._session, self)
        self._server.report.disconnected(self, str(self._session.client_id), reason)
        if self._connect is not None and self._connect.will is not None:
            self._server.send_will(self, self._connect.will)
