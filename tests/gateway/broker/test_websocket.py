"""MQTT over WebSocket: the upgrade, frames as a byte stream, the closing handshake, and the same MQTT as on 8883."""

import asyncio
import ssl
import threading

import paho.mqtt.client as paho
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.asyncio.client import connect

from gateway import Settings
from gateway.clock import SystemClock
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, HandshakeFailed, MessageDropped
from gateway.upstream import Device
from tests.gateway import packets as p
from tests.gateway import webclient as w
from tests.gateway.broker.test_tls import self_signed
from tests.gateway.client import Client, tls_context

TOPIC = "devices/press/messages/events/"


# -- real clients -----------------------------------------------------------------------------------------------------


async def test_websocket_library_connects_and_publishes(hub):
    """The `websockets` client gets sub-protocol mqtt, no compression although it offers it, and its PUBACK."""
    url = f"wss://localhost:{hub.gateway.https_port}/$iothub/websocket"
    async with connect(url, subprotocols=["mqtt"], ssl=hub.context, compression="deflate") as socket:
        assert socket.subprotocol == "mqtt"
        assert socket.protocol.extensions == []
        await socket.send(hub.hello())
        assert await socket.recv() == b"\x20\x02\0\0"
        await socket.send(p.publish(TOPIC, b"over the web"))
        assert await socket.recv() == p.puback()
    message = await hub.gateway.upstream.inbox.next_message("press")
    assert message.body == b"over the web"


async def test_paho_connects_over_websocket(hub):
    """paho with transport websockets connects, publishes and disconnects in good order."""
    acknowledged = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "press", transport="websockets")
    client.username_pw_set("hub/press/?api-version=2021-04-12", hub.password())
    client.tls_set_context(hub.context)
    client.ws_set_options(path="/$iothub/websocket")
    client.on_connect = lambda *_: client.publish(TOPIC, b"21", qos=1)
    client.on_publish = lambda *_: acknowledged.set()
    await asyncio.to_thread(client.connect, "localhost", hub.gateway.https_port)
    client.loop_start()
    assert await asyncio.to_thread(acknowledged.wait, 20)
    client.disconnect()
    await hub.event(ClientDisconnected, reason="DISCONNECT")
    await asyncio.to_thread(client.loop_stop)


# -- the upgrade ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/$iothub/websocket", "/$iothub/websocket/?iothub-no-client-cert=true", "/", "/x/y"])
async def test_any_path_takes_a_websocket(hub, path):
    """The path and its query do not matter; the answer proves that the key was read."""
    web = await hub.web()
    web.send(w.upgrade(path))
    status, headers, body = await web.response()
    assert (status, headers["sec-websocket-accept"], body) == (101, w.accept_key(), b"")
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("Sec-Websocket-Protocol", "mqtt"), ("sec-websocket-protocol", "MQTT"), ("SEC-WEBSOCKET-PROTOCOL", "soap, mqtt")],
)
async def test_sub_protocol_is_found_in_any_case_and_echoed(hub, name, protocol):
    """Header names have no case (the SDK for Python writes its own), nor have sub-protocols; mqtt comes back."""
    await hub.websocket(name=name, protocol=protocol)


async def test_compression_that_is_offered_is_declined(hub):
    """permessage-deflate, which the SDK for Node.js offers, is not in the answer."""
    web = await hub.web()
    web.send(w.upgrade(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    status, headers, _ = await web.response()
    assert status == 101
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"protocol": "AMQPWSB10"}, "AMQP over WebSocket (sub-protocol AMQPWSB10) is not offered"),
        ({"protocol": "amqpwsb10"}, "AMQP over WebSocket (sub-protocol AMQPWSB10) is not offered"),
        ({"protocol": "soap"}, "the WebSocket sub-protocol has to be mqtt, not soap"),
        ({"protocol": None}, "the WebSocket sub-protocol has to be mqtt, and the client asks for none"),
        ({"Sec_WebSocket_Version": "8"}, "invalid Sec-WebSocket-Version header: 8"),
        ({"Sec_WebSocket_Key": None}, "missing Sec-WebSocket-Key header"),
        ({"Sec_WebSocket_Key": "short"}, "invalid Sec-WebSocket-Key header: short"),
        ({"Connection": "keep-alive"}, "invalid Connection header: keep-alive"),
    ],
)
async def test_upgrade_that_is_refused_says_why(hub, changed, reason):
    """HTTP 400 with a sentence, then the connection ends; log and event say the same."""
    web = await hub.web()
    web.send(w.upgrade(**changed))
    status, headers, body = await web.response()
    assert (status, headers["connection"]) == (400, "close")
    assert body.decode().startswith(reason)
    await web.eof()
    (refused,) = hub.of(ConnectionRefused)
    assert (refused.client_id, refused.code) == (None, None)
    assert refused.reason.startswith(reason)
    assert f"Closing connection [{web.client.peer}], {reason}" in hub.log.getvalue()


async def test_post_is_no_upgrade(hub):
    """Only GET can become a WebSocket."""
    web = await hub.web()
    web.send(w.upgrade().replace(b"GET", b"POST"))
    assert (await web.response())[0] == 404


async def test_opened_websocket_is_told_in_the_log(hub):
    """The product's line, with the channel that later lines have too."""
    await hub.join_web()
    assert "[INF] - Processed MQTT WebSocket request with CorrelationId 00000001" in hub.log.getvalue()
    assert "ClientAuthenticated, press, 00000001" in hub.log.getvalue()


# -- frames -----------------------------------------------------------------------------------------------------------


async def test_one_packet_may_come_in_many_frames(hub):
    """One byte per frame, as the SDK for Node.js may send it."""
    web = await hub.websocket()
    for byte in hub.hello():
        web.send(w.binary(bytes([byte])))
    assert await web.packet() == b"\x20\x02\0\0"


async def test_one_frame_may_hold_many_packets(hub):
    """Every one is answered, each answer in a frame of its own."""
    web = await hub.websocket()
    web.send(w.binary(hub.hello(), p.subscribe(("x", 1), packet_id=3), p.PINGREQ))
    assert [await web.packet() for _ in range(3)] == [b"\x20\x02\0\0", b"\x90\x03\0\x03\x01", p.PINGRESP]


async def test_frames_and_packets_may_lie_across_each_other(hub):
    """The end of one packet and the beginning of the next share a frame; a TLS record ends in the middle of a frame."""
    web = await hub.join_web()
    stream = p.publish(TOPIC, b"1" * 200, packet_id=1) + p.publish(TOPIC, b"2" * 200, packet_id=2)
    frames = w.binary(stream[:300]) + w.binary(stream[300:])
    web.send(frames[:1], frames[1:250], frames[250:])
    assert [await web.packet(), await web.packet()] == [p.puback(1), p.puback(2)]


async def test_message_may_be_fragmented_without_end(start):
    """A message of many fragments is a byte stream as well, and may be longer than any frame may be."""
    hub = await start(settings=Settings(max_packet_size=1024))
    web = await hub.websocket()
    web.send(w.frame(w.BINARY, hub.hello(), final=False))
    assert await web.packet() == b"\x20\x02\0\0"
    for number in range(1, 9):
        web.send(w.frame(w.CONTINUATION, p.publish(TOPIC, b"x" * 800, packet_id=number), final=False))
        assert await web.packet() == p.puback(number)


async def test_ping_is_answered_between_fragments(hub):
    """A pong with the ping's own data, while a message is under way."""
    web = await hub.websocket()
    hello = hub.hello()
    web.send(w.frame(w.BINARY, hello[:9], final=False), w.frame(w.PING, b"are you there"))
    assert await web.frame() == (w.PONG, b"are you there")
    web.send(w.frame(w.PONG, b"unasked"), w.frame(w.CONTINUATION, hello[9:]))
    assert await web.packet() == b"\x20\x02\0\0"


async def test_answers_wait_for_the_upgrade(hub):
    """A client that sends CONNECT along with its request gets 101 first, then CONNACK."""
    web = await hub.web()
    web.send(w.upgrade() + w.binary(hub.hello()))
    assert (await web.response())[0] == 101
    assert await web.packet() == b"\x20\x02\0\0"


async def test_close_is_answered_and_ends_the_session_with_its_will(hub):
    """The close frame comes back; to MQTT the channel is closed without DISCONNECT."""
    web = await hub.join_web(will=(TOPIC, b"gone"))
    web.send(w.frame(w.CLOSE, b"\x03\xe8bye"))
    assert await web.frame() == (w.CLOSE, b"\x03\xe8bye")
    await web.eof()
    await hub.event(ClientDisconnected, client_id="press", reason="Channel closed.")
    assert (await hub.gateway.upstream.inbox.next_message("press")).body == b"gone"


async def test_disconnect_is_followed_by_a_close_frame(hub):
    """The gateway closes in good order, with code 1000, and sends no will."""
    web = await hub.join_web(will=(TOPIC, b"gone"))
    web.send(w.binary(p.DISCONNECT))
    assert await web.frame() == (w.CLOSE, b"\x03\xe8")
    await web.eof()
    await hub.event(ClientDisconnected, client_id="press", reason="DISCONNECT")
    assert len(hub.gateway.upstream.inbox) == 0


async def test_disconnect_and_close_in_one_piece_are_an_orderly_end(hub):
    """DISCONNECT counts, though the close frame is there already."""
    web = await hub.join_web(will=(TOPIC, b"gone"))
    web.send(w.binary(p.DISCONNECT) + w.frame(w.CLOSE))
    await web.rest()
    await hub.event(ClientDisconnected, client_id="press", reason="DISCONNECT")
    assert len(hub.gateway.upstream.inbox) == 0


async def test_text_frame_ends_the_connection_as_the_product_does(hub):
    """No close frame: the product throws such a connection away."""
    web = await hub.join_web()
    web.send(w.frame(w.TEXT, b"hello"))
    await web.eof()
    reason = "ProtocolViolationException: Mqtt over WS message cannot be in text"
    await hub.event(ClientDisconnected, client_id="press", reason=reason)


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (w.frame(w.BINARY, b"x", mask=None), 1002, "incorrect masking"),
        (w.frame(w.BINARY, b"x", reserved=0x40), 1002, "reserved bits must be 0"),
        (w.frame(3, b"x"), 1002, "invalid opcode"),
        (w.frame(w.CONTINUATION, b"x"), 1002, "unexpected continuation frame"),
        (w.frame(w.PING, b"x" * 126), 1002, "control frame too long"),
        (w.frame(w.PING, final=False), 1002, "fragmented control frame"),
        (w.frame(w.BINARY, b"x", final=False) + w.frame(w.BINARY, b"x"), 1002, "expected a continuation frame"),
        (w.frame(w.BINARY, length=1 << 62), 1009, "frame with 4611686018427387904 bytes exceeds limit of 524288 bytes"),
        (w.frame(w.CLOSE, b"\x03"), 1002, "close frame too short"),
    ],
)
async def test_malformed_frame_ends_the_connection(hub, data, code, reason):
    """A close frame with the code of RFC 6455, then the end; the session's end has the reason."""
    web = await hub.join_web()
    web.send(data)
    opcode, payload = await web.frame()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (w.CLOSE, code)
    await web.eof()
    gone = await hub.event(ClientDisconnected, client_id="press")
    assert gone.reason.startswith("WebSocket: ")
    assert reason in gone.reason


async def test_malformed_frame_before_connect_is_a_refusal(hub):
    """Nobody was connected, so the event is ConnectionRefused."""
    web = await hub.websocket()
    web.send(w.frame(w.BINARY, b"x", mask=None))
    assert (await web.frame())[0] == w.CLOSE
    await hub.event(ConnectionRefused, client_id=None, code=None, reason="WebSocket: incorrect masking")


# -- the same MQTT ----------------------------------------------------------------------------------------------------


async def test_malformed_packet_closes_the_websocket(hub):
    """What ends a connection on 8883 ends it here, with a close frame."""
    web = await hub.join_web()
    web.send(w.binary(b"\x00\x00"))
    assert await web.frame() == (w.CLOSE, b"\x03\xe8")
    await web.eof()
    gone = await hub.event(ClientDisconnected)
    assert gone.reason == "malformed packet: a packet of type 0 with flags 0000"


async def test_packet_beyond_the_limit_closes_the_websocket(start):
    """The limit is the packet's, not the frame's."""
    hub = await start(settings=Settings(max_packet_size=2048))
    web = await hub.join_web()
    web.send(w.binary(p.publish(TOPIC, b"x" * 1900)))
    assert await web.packet() == p.puback()
    web.send(w.binary(p.publish(TOPIC, b"x" * 2100)))
    assert (await web.frame())[0] == w.CLOSE
    assert "2048 is the most" in (await hub.event(ClientDisconnected)).reason


async def test_wrong_token_gets_connack_and_close(hub):
    """CONNACK 5 in a frame, then a close frame; the event is the same as on 8883."""
    web = await hub.websocket()
    hub.gateway.connection_string("press")
    web.send(w.binary(p.connect(password="SharedAccessSignature sr=a&sig=b&se=1")))
    assert await web.packet() == b"\x20\x02\0\x05"
    assert (await web.frame())[0] == w.CLOSE
    await web.eof()
    await hub.event(ConnectionRefused, client_id="press", code=5)
    assert not hub.of(HandshakeFailed)


async def test_client_certificate_is_judged_at_connect(chain, start, tmp_path):
    """The one shown in this connection's handshake, by its thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key)
    path = tmp_path / "press.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    hub = await start(clock=SystemClock())
    thumbprint = certificate.fingerprint(hashes.SHA256()).hex()
    hub.gateway.registry.add(Device("press", thumbprints=(thumbprint,)))
    hub.gateway.registry.add(Device("drill", thumbprints=("00" * 32,)))
    context = tls_context(chain, certificate=path)
    for name, answer in (("press", b"\x20\x02\0\0"), ("drill", b"\x20\x02\0\x05")):
        web = await hub.websocket(context)
        web.send(w.binary(p.connect(name, username=f"hub/{name}/?api-version=2021-04-12")))
        assert await web.packet() == answer


async def test_event_names_tls_version_and_server_name(hub):
    """ClientConnected tells the same as on 8883."""
    await hub.join_web()
    connected = await hub.event(ClientConnected, client_id="press")
    assert (connected.tls_version, connected.server_name) == ("TLSv1.3", "localhost")


async def test_session_moves_between_the_listeners(hub):
    """A client id that connects on the other port takes over, in both directions, and finds its session."""
    first = await hub.join(clean=False)
    first.send(p.subscribe(("$iothub/methods/POST/#", 1)))
    await first.packet()
    second = await hub.join_web(clean=False, present=True)
    await first.eof()
    third = await hub.join(clean=False, present=True)
    assert await second.frame() == (w.CLOSE, b"\x03\xe8")
    await second.eof()
    third.send(p.PINGREQ)
    assert await third.packet() == p.PINGRESP


async def test_dropped_message_is_told(hub):
    """An unknown topic is acknowledged and dropped."""
    web = await hub.join_web()
    web.send(w.binary(p.publish("nowhere")))
    assert await web.packet() == p.puback()
    await hub.event(MessageDropped, topic="nowhere")


async def test_keep_alive_counts_packets_not_frames(hub):
    """WebSocket pings keep nobody alive; MQTT packets do."""
    web = await hub.join_web(keep_alive=10)
    hub.clock.elapse(14)
    web.send(w.binary(p.PINGREQ))
    assert await web.packet() == p.PINGRESP
    hub.clock.elapse(14)
    web.send(w.frame(w.PING))
    assert await web.frame() == (w.PONG, b"")
    hub.clock.elapse(2)
    assert (await web.frame())[0] == w.CLOSE
    await hub.event(ClientDisconnected, reason="Keep Alive timed out.")


async def test_connect_has_its_time_after_the_upgrade(hub):
    """60 seconds, whatever WebSocket traffic there is."""
    web = await hub.websocket()
    hub.clock.elapse(59)
    web.send(w.frame(w.PING))
    assert await web.frame() == (w.PONG, b"")
    hub.clock.elapse(2)
    assert (await web.frame())[0] == w.CLOSE
    await hub.event(ConnectionRefused, reason="Connection timed out on waiting for CONNECT")


async def test_stopping_gateway_closes_websockets(hub):
    """A close frame, and the session's end."""
    web = await hub.join_web()
    await hub.gateway.stop()
    assert await web.frame() == (w.CLOSE, b"\x03\xe8")
    await web.eof()
    await hub.event(ClientDisconnected, reason="the gateway is stopping")


async def test_client_that_leaves_after_the_handshake_is_told_as_on_8883(hub):
    """Without a word: it has probably refused the certificate. With one: it has not."""
    mute = await Client.tls(hub.gateway.https_port, hub.context)
    mute.abort()
    await hub.event(HandshakeFailed, reason="the client left after the handshake, without CONNECT")
    hub.events.clear()
    web = await hub.websocket()
    web.abort()
    after = await hub.join_web()
    after.send(w.binary(p.PINGREQ))
    await after.packet()
    assert not hub.of(HandshakeFailed)


async def test_client_that_does_not_trust_is_told_on_this_port_too(hub):
    """The alert's name, as on 8883."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await Client.tls(hub.gateway.https_port, ssl.create_default_context())
    await hub.event(HandshakeFailed, alert="unknown_ca", sent_by="client")
