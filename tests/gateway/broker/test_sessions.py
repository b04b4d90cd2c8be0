"""CONNECT over real sockets: codes, credentials, take-over, sessions, wills."""

import hashlib
import json

import pytest

from certs import Authority
from gateway import Device
from gateway.errors import StoreError
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, MessageDropped
from gateway.store.memory import MemoryStore
from tests.gateway import packets as p
from tests.gateway.client import tls_context

DAY = 86_400
STRANGER = p.sas("hub.leafgate.test/devices/press", "AAAA", 1_700_003_600)


def table(hub):
    """amqtt's session table."""
    return hub.gateway._process.server.sessions._broker._sessions


async def refusal(hub, packet, context=None):
    """What the gateway answers to a CONNECT, and its event."""
    client = await hub.dial(context)
    client.send(packet)
    answer = await client.rest()
    return answer, await hub.event(ConnectionRefused, peer=client.peer)


async def test_connect_is_accepted_and_told(hub):
    """CONNACK 0 without session, one event with the TLS version and the name asked for, the product's log lines."""
    client = await hub.join()
    (event,) = hub.of(ClientConnected)
    assert (event.client_id, event.peer, event.at) == ("press", client.peer, hub.clock.now())
    assert (event.tls_version, event.server_name) == ("TLSv1.3", "localhost")
    log = hub.log.getvalue()
    for line in (
        "Client press in device scope authenticated locally.",
        "Successfully generated identity for clientId press and username",
        "ClientAuthenticated, press, ",
        "New device connection for device press",
    ):
        assert f"[INF] - {line}" in log


@pytest.mark.parametrize(
    ("packet", "answer", "code", "reason"),
    [
        (p.connect(name="MQIsdp", level=3), b"", None, "the protocol name is not MQTT"),
        (p.connect(level=3), b"\x20\2\0\1", 1, "protocol level 3, not 4"),
        (p.connect(level=5), b"\x20\2\0\1", 1, "protocol level 5, not 4"),
        (p.connect(username=None), b"\x20\2\0\3", 3, "the user name cannot be read: 1 segments"),
        (p.connect(username="hub/press?api-version=1"), b"\x20\2\0\3", 3, "the user name cannot be read: 2 segments"),
        (p.connect(username="hub/press/?a=b"), b"\x20\2\0\3", 3, "the user name cannot be read: api-version"),
        (p.connect(""), b"\x20\2\0\3", 3, "the client id is blank"),
        (p.connect("Press"), b"\x20\2\0\5", 5, "the client id 'Press' is not 'press' as the user name says"),
        (p.connect(), b"\x20\2\0\5", 5, "neither token nor certificate was given"),
        (p.connect(password=b""), b"\x20\2\0\5", 5, "neither token nor certificate was given"),
        (p.connect(password=b"x"), b"\x20\2\0\5", 5, "the token is not a SharedAccessSignature"),
        (p.connect(password=STRANGER), b"\x20\2\0\5", 5, "press is not in the scope of this gateway"),
        (p.connect(flags=0x83), b"", None, "malformed packet: the reserved CONNECT flag is set"),
        (p.connect("a\0"), b"", None, "malformed packet: a string holds NUL"),
        (p.connect(b"\xff"), b"", None, "malformed packet: a string is not UTF-8"),
        (p.connect("", clean=False), b"", None, "malformed packet: an empty client id needs a clean session"),
    ],
)
async def test_connect_is_refused_by_the_table(hub, packet, answer, code, reason):
    """The exact CONNACK or none, then the socket closes; the event says why; no session comes into being."""
    got, event = await refusal(hub, packet)
    assert (got, event.code) == (answer, code)
    assert event.reason.startswith(reason)
    assert dict(table(hub)) == {}
    assert hub.of(ClientConnected) == []


@pytest.mark.parametrize("change", ["key", "expiry", "device", "host", "disabled"])
async def test_connect_with_a_bad_token_is_refused(hub, change):
    """Wrong key, expired, another device's, another hub's, a disabled device: all 5, each with its own reason."""
    gateway = hub.gateway
    gateway.add_device("press", enabled=change != "disabled")
    gateway.add_device("other")
    key = gateway.registry.get("other" if change == "key" else "press").primary_key
    host = "else.test" if change == "host" else gateway.hub_hostname
    device = "other" if change == "device" else "press"
    expiry = int(hub.clock.now()) - (301 if change == "expiry" else -60)
    got, event = await refusal(hub, p.connect(password=p.sas(f"{host}/devices/{device}", key, expiry)))
    assert got == b"\x20\2\0\5"
    assert event.code == 5
    assert event.client_id == "press"
    expected = {
        "key": "the signature matches neither the primary nor the secondary key",
        "expiry": "the token has expired",
        "device": "the audience does not name this device or module",
        "host": "the audience host is neither the IoT hub nor this gateway",
        "disabled": "press is disabled",
    }
    assert event.reason == expected[change]


@pytest.mark.parametrize("which", ["hub", "gateway", "secondary", "milliseconds", "late", "any-hub-in-username"])
async def test_connect_with_an_unusual_but_good_token_is_accepted(hub, which):
    """The gateway's own name, any case, secondary key, milliseconds, five minutes late, any hub in the user name."""
    device = hub.gateway.add_device("press")
    host = "LocalHost" if which == "gateway" else "HUB.leafgate.TEST"
    key = device.secondary_key if which == "secondary" else device.primary_key
    expiry = int(hub.clock.now()) + {"milliseconds": 1_700_000_000_000, "late": -300}.get(which, 60)
    name = "whatever/press/?api-version=x" if which == "any-hub-in-username" else "hub/press/?api-version=x"
    client = await hub.dial()
    client.send(p.connect(username=name, password=p.sas(f"{host}/devices/Press", key, expiry)))
    assert await client.packet() == b"\x20\2\0\0"


async def test_token_expires_with_the_gateways_clock(hub):
    """The injected hour of day decides: the same token passes, and is refused once the clock has been moved."""
    packet = hub.hello()
    client = await hub.dial()
    client.send(packet)
    assert await client.packet() == b"\x20\2\0\0"
    hub.clock.advance(3600 + 301)
    answer, event = await refusal(hub, packet)
    assert (answer, event.reason) == (b"\x20\2\0\5", "the token has expired")


async def test_module_connects_with_its_own_or_its_devices_key(hub):
    """A module's token may be signed with the device's key; its audience is the module either way."""
    hub.gateway.connection_string("press", "filter")
    resource, expiry = f"{hub.gateway.hub_hostname}/devices/press/modules/filter", int(hub.clock.now()) + 60
    for owner in ("filter", None):
        key = hub.gateway.registry.get("press", owner).primary_key
        client = await hub.dial()
        client.send(p.connect("press/filter", "h/press/filter/?api-version=1", p.sas(resource, key, expiry)))
        assert await client.packet() == b"\x20\2\0\0"


async def test_module_of_a_disabled_device_is_refused(hub):
    """A disabled device takes its modules with it."""
    packet = hub.hello("press", "filter")
    device = hub.gateway.registry.get("press")
    hub.gateway.registry.update(
        Device("press", primary_key=device.primary_key, secondary_key=device.secondary_key, enabled=False)
    )
    answer, event = await refusal(hub, packet)
    assert (answer, event.reason) == (b"\x20\2\0\5", "press/filter is disabled")


@pytest.fixture(scope="module")
def identity():
    """A leaf device's certificate, from an authority that the gateway has never heard of."""
    return Authority(hostname="elsewhere").device("press")


@pytest.fixture(scope="module")
def showing(identity, chain, tmp_path_factory):
    """A client's TLS context that shows it."""
    pem = tmp_path_factory.mktemp("identity") / "press.pem"
    pem.write_bytes(identity.pem + identity.key_pem)
    return tls_context(chain, certificate=pem)


def thumbprint(identity, algorithm=hashlib.sha1):
    """The thumbprint as IoT Hub writes it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return algorithm(identity.certificate.public_bytes(Encoding.DER)).hexdigest().upper()


@pytest.fixture
def inside(identity, hub):
    """Sets the gateway's clock into the certificate's validity."""
    hub.clock.step(identity.certificate.not_valid_before_utc.timestamp() + 60 - hub.clock.now())


@pytest.mark.parametrize("algorithm", [hashlib.sha1, hashlib.sha256])
async def test_certificate_with_a_known_thumbprint_connects(hub, inside, showing, identity, algorithm):
    """SHA-1 and SHA-256 thumbprints of whatever certificate was shown in the handshake."""
    hub.gateway.registry.add(Device("press", thumbprints=("00", thumbprint(identity, algorithm))))
    client = await hub.dial(showing)
    client.send(p.connect())
    assert await client.packet() == b"\x20\2\0\0"


@pytest.mark.parametrize("when", ["expired", "early", "unknown"])
async def test_certificate_out_of_its_time_or_unknown_is_refused(hub, inside, showing, identity, when):
    """The handshake completes all the same; CONNECT is answered with 5."""
    known = "00" if when == "unknown" else thumbprint(identity)
    hub.gateway.registry.add(Device("press", thumbprints=(known,)))
    hub.clock.step({"expired": 400 * 365 * DAY / 10, "early": -DAY, "unknown": 0}[when])
    answer, event = await refusal(hub, p.connect(), showing)
    assert answer == b"\x20\2\0\5"
    assert (
        event.reason
        == {
            "expired": "the certificate has expired",
            "early": "the certificate is not valid yet",
            "unknown": "the certificate's thumbprint is neither the primary nor the secondary one",
        }[when]
    )


async def test_password_wins_over_the_certificate(hub, inside, showing, identity):
    """A device that shows a good certificate and a bad token is judged on the token."""
    hub.gateway.registry.add(Device("press", thumbprints=(thumbprint(identity),)))
    answer, event = await refusal(hub, p.connect(password=hub.password("other")), showing)
    assert (answer, event.reason) == (b"\x20\2\0\5", "the device does not authenticate with keys")
    line = "[WRN] - Error authenticating token for press because the device does not authenticate with keys"
    assert line in hub.log.getvalue()


async def test_module_by_certificate_is_refused(hub, inside, showing, identity):
    """Modules cannot use certificates."""
    hub.gateway.registry.add(Device("press"))
    hub.gateway.registry.add(Device("press", "filter", thumbprints=(thumbprint(identity),)))
    answer, event = await refusal(hub, p.connect("press/filter", "h/press/filter/?api-version=1"), showing)
    assert (answer, event.reason) == (b"\x20\2\0\5", "modules cannot authenticate with a certificate")
    line = "[WRN] - Error authenticating certificate for press/filter because modules cannot authenticate with a"
    assert line in hub.log.getvalue()


# -- take-over --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
async def test_newcomer_with_the_same_client_id_takes_over(hub, clean):
    """The newcomer gets CONNACK 0, then the old socket closes; the old will is not sent."""
    old = await hub.join(clean=clean, will=("devices/press/messages/events/", b"gone"))
    old.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await old.packet()
    new = await hub.join(clean=clean, present=not clean)
    await old.eof()
    kinds = [(type(one).__name__, one.peer) for one in hub.events]
    assert kinds == [
        ("ClientConnected", old.peer),
        ("ClientConnected", new.peer),
        ("ClientDisconnected", old.peer),
    ]
    cause = "MultipleConnectionsException: Multiple connections detected for device press"
    assert hub.events[-1].reason == cause
    assert f"[WRN] - Closing connection for device: press, {cause}, " in hub.log.getvalue()
    new.send(p.publish(body=b"from the newcomer"))
    assert await new.packet() == p.puback()
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"from the newcomer"]


async def test_connack_of_the_newcomer_is_written_before_the_old_socket_closes(hub, monkeypatch):
    """Order on the wire: the newcomer's CONNACK first, seen at the sockets' own write and close."""
    from gateway.broker.connection import Connection

    order, displace, flush = [], Connection.displace, Connection.flush
    monkeypatch.setattr(Connection, "displace", lambda self: (order.append("close old"), displace(self))[1])
    monkeypatch.setattr(Connection, "flush", lambda self: (order.append("write"), flush(self))[1])
    await hub.join()
    order.clear()
    await hub.join()
    assert order[:2] == ["write", "close old"]


@pytest.mark.parametrize("clean", [True, False])
async def test_wrong_password_does_not_touch_the_connected_client(hub, clean):
    """Authentication comes before take-over: a stranger with the same client id changes nothing."""
    victim = await hub.join(clean=False)
    victim.send(p.subscribe(("devices/press/messages/devicebound/#", 1)))
    assert await victim.packet() == b"\x90\3\0\1\1"
    before = table(hub)["press"]
    answer, _ = await refusal(hub, p.connect(password=b"SharedAccessSignature wrong", clean=clean))
    assert answer == b"\x20\2\0\5"
    assert table(hub)["press"] is before
    victim.send(p.PINGREQ)
    assert await victim.packet() == p.PINGRESP
    assert hub.of(ClientDisconnected) == []
    victim.abort()
    await hub.event(ClientDisconnected, peer=victim.peer)
    assert list(before[0].subscriptions) == ["devices/press/messages/devicebound/#"]


async def test_take_over_chain_keeps_the_last(hub):
    """Ten connections of one device in a row: only the last one is left."""
    clients = [await hub.join() for _ in range(10)]
    for client in clients[:-1]:
        await client.eof()
    clients[-1].send(p.PINGREQ)
    assert await clients[-1].packet() == p.PINGRESP
    assert len(hub.gateway._process.server.connections) == 1
    assert list(table(hub)) == ["press"]


# -- sessions ---------------------------------------------------------------------------------------------------------


async def leave(hub, client, how="disconnect"):
    """End a client's connection and wait until the gateway has noticed."""
    if how == "disconnect":
        client.send(p.DISCONNECT)
        await client.eof()
    else:
        client.abort()
    return await hub.event(ClientDisconnected, peer=client.peer)


@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_session_is_kept_without_clean_session(hub, how):
    """Session present says so, subscriptions are still there; a clean session wipes it."""
    first = await hub.join(clean=False)
    first.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await first.packet()
    await leave(hub, first, how)
    second = await hub.join(clean=False, present=True)
    assert dict(table(hub)["press"][0].subscriptions) == {"$iothub/twin/res/#": 0}
    await leave(hub, second, how)
    third = await hub.join(clean=True, present=False)
    assert dict(table(hub)["press"][0].subscriptions) == {}
    await leave(hub, third, how)
    assert dict(table(hub)) == {}
    await hub.join(clean=False, present=False)


async def test_session_without_a_subscription_is_not_kept(hub):
    """The product stores a session when its subscriptions change, and knows nothing of it before."""
    await leave(hub, await hub.join(clean=False))
    second = await hub.join(clean=False, present=False)
    second.send(p.subscribe(("a", 0)), p.unsubscribe("a"))
    await second.packets(2)
    await leave(hub, second)
    await hub.join(clean=False, present=True)


@pytest.mark.parametrize("clean", [True, False])
async def test_session_survives_a_restart_of_the_gateway(start, tmp_path, clean):
    """Its subscriptions are kept in the store unless it is a clean one, and wiped by a clean one."""
    hub = await start(state=tmp_path)
    first = await hub.join(clean=clean)
    first.send(p.subscribe(("$iothub/twin/res/#", 1), ("a/b", 0)), p.unsubscribe("a/b"))
    await first.packets(2)
    await hub.gateway.stop()
    again = await start(state=tmp_path)
    assert {name: dict(session.subscriptions) for name, (session, _) in table(again).items()} == (
        {} if clean else {"press": {"$iothub/twin/res/#": 1}}
    )
    second = await again.join(clean=False, present=not clean)
    await leave(again, second)
    await leave(again, await again.join(clean=True))
    await again.gateway.stop()
    assert dict(table(await start(state=tmp_path))) == {}


async def test_session_survives_a_restart_in_memory(hub):
    """Also without a state folder, as long as the gateway object lives."""
    first = await hub.join(clean=False)
    first.send(p.subscribe(("$iothub/twin/res/#", 1)))
    await first.packet()
    await hub.gateway.stop()
    await hub.gateway.start()
    await hub.join(clean=False, present=True)


async def test_subscription_that_cannot_be_stored_is_not_granted(hub, monkeypatch):
    """The store comes first, then SUBACK: with a full disk the connection ends."""

    def full(self, client_id, subscriptions):
        raise StoreError("a session cannot be stored: disk full")

    monkeypatch.setattr(MemoryStore, "save_session", full)
    client = await hub.join(clean=False)
    client.send(p.subscribe(("a", 1)))
    await client.eof()
    assert "disk full" in (await hub.event(ClientDisconnected)).reason
    assert "[ERR] - a session cannot be stored: disk full" in hub.log.getvalue()


async def test_subscriptions_of_one_session_are_bounded(hub):
    """A client that subscribes to more than a thousand filters is granted all, and a thousand are kept."""
    client = await hub.join(clean=False)
    for first in range(0, 1_200, 100):
        client.send(p.subscribe(*((f"topic/{number}", 1) for number in range(first, first + 100))))
        assert (await client.packet())[-100:] == b"\1" * 100
    assert len(table(hub)["press"][0].subscriptions) == 1_000


async def test_clean_session_is_not_present_for_a_successor_while_it_lives(hub):
    """A persistent session that takes over a clean one starts empty."""
    first = await hub.join(clean=True)
    first.send(p.subscribe(("$iothub/twin/res/#", 1)))
    await first.packet()
    await hub.join(clean=False, present=False)
    await first.eof()
    assert dict(table(hub)["press"][0].subscriptions) == {}
    assert hub.gateway._process.server.sessions._broker._subscriptions == {}


async def test_session_present_is_never_said_with_a_refusal(hub):
    """A device with a kept session that shows a bad token gets 20 02 00 05, and its session stays."""
    first = await hub.join(clean=False)
    first.send(p.subscribe(("$iothub/twin/res/#", 0)))
    await first.packet()
    await leave(hub, first)
    answer, _ = await refusal(hub, p.connect(password=b"bad", clean=False))
    assert answer == b"\x20\2\0\5"
    await hub.join(clean=False, present=True)


@pytest.mark.parametrize("clean", [True, False])
async def test_refused_client_leaves_no_session(hub, clean):
    """No zombie in amqtt's tables, whether the device is known or not."""
    hub.gateway.add_device("press")
    await refusal(hub, p.connect(password=b"bad", clean=clean))
    await refusal(hub, p.connect("ghost", "h/ghost/?api-version=1", b"bad", clean=clean))
    assert dict(table(hub)) == {}


async def test_resubscribing_replaces_the_first(hub):
    """The same filter again changes the QoS and is there once (MQTT 3.8.4-3)."""
    client = await hub.join()
    name, broker = "devices/press/messages/devicebound/#", hub.gateway._process.server.sessions._broker
    for qos in (1, 0, 0, 1):
        client.send(p.subscribe((name, qos)))
        assert await client.packet() == bytes((0x90, 3, 0, 1, qos))
        session = table(hub)["press"][0]
        assert dict(session.subscriptions) == {name: qos}
        assert broker._subscriptions == {name: [(session, qos)]}
    client.send(p.unsubscribe(name))
    assert await client.packet() == b"\xb0\2\0\1"
    assert (dict(session.subscriptions), broker._subscriptions) == ({}, {})


async def test_subscriptions_of_two_clients_do_not_mix(hub):
    """Unsubscribing or leaving takes away one's own subscription only."""
    one, two = await hub.join("one"), await hub.join("two")
    broker = hub.gateway._process.server.sessions._broker
    for client in (one, two):
        client.send(p.subscribe(("#", 1)))
        await client.packet()
    one.send(p.unsubscribe("#"))
    await one.packet()
    assert [session.client_id for session, _ in broker._subscriptions["#"]] == ["two"]
    await leave(hub, two)
    assert broker._subscriptions == {}


# -- wills ------------------------------------------------------------------------------------------------------------

WILL = ("devices/press/messages/events/why=lost", b'{"gone":true}')


async def test_will_is_sent_when_the_connection_breaks(hub):
    """It arrives as telemetry with MessageType=Will beside its own properties."""
    client = await hub.join(will=WILL)
    client.reset()
    message = await hub.gateway.upstream.inbox.next_message(timeout=10)
    assert (message.device_id, message.json()) == ("press", {"gone": True})
    assert message.properties == {"why": "lost", "MessageType": "Will"}


async def test_will_is_sent_after_a_protocol_error_and_a_tls_close(hub):
    """Whatever ends a session but DISCONNECT: a malformed packet, or close_notify alone."""
    client = await hub.join(will=WILL)
    client.send(b"\0\0")
    await client.eof()
    assert (await hub.gateway.upstream.inbox.next_message(timeout=10)).properties["MessageType"] == "Will"
    client = await hub.join(will=WILL)
    client.raw(client.close_notify())
    assert (await hub.gateway.upstream.inbox.next_message(timeout=10)).properties["MessageType"] == "Will"
    assert (await hub.event(ClientDisconnected, peer=client.peer)).reason == "Channel closed."


async def test_will_is_not_sent_after_disconnect(hub):
    """DISCONNECT discards the will (MQTT 3.14.4-3)."""
    client = await hub.join(will=WILL)
    assert (await leave(hub, client)).reason == "DISCONNECT"
    other = await hub.join("other")
    other.send(p.publish(body=b"later"))
    await other.packet()
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"later"]


@pytest.mark.parametrize(
    "topic", ["last/words", "devices/press/messages/events/a=b=c", "$iothub/twin/GET/", "a/#", "", "devices/p\tx"]
)
async def test_will_that_is_no_telemetry_is_dropped(hub, topic):
    """CONNECT is accepted; when the will is due it goes nowhere, with an event, and nothing breaks."""
    client = await hub.join(will=(topic, b"x"))
    client.reset()
    dropped = await hub.event(MessageDropped, peer=client.peer)
    assert (dropped.client_id, dropped.topic) == ("press", topic)
    assert len(hub.gateway.upstream.inbox) == 0
    await hub.join()


async def test_refused_client_has_no_will(hub):
    """A will counts only once CONNECT has been accepted."""
    await refusal(hub, p.connect(password=b"bad", will=WILL))
    client = await hub.join("other")
    client.send(p.PINGREQ)
    await client.packet()
    assert len(hub.gateway.upstream.inbox) == 0


async def test_secrets_stay_out_of_log_and_events(hub):
    """Keys and signatures appear nowhere, also when a client sends its token as user name or client id."""
    good = hub.password()
    signature = good.split("sig=")[1].split("&")[0]
    await hub.join()
    await refusal(hub, p.connect(password=good + "x"))
    await refusal(hub, p.connect(username=good, password=good))
    await refusal(hub, p.connect(client_id=good, password=good))
    key = hub.gateway.registry.get("press").primary_key
    said = hub.log.getvalue() + repr(hub.events) + json.dumps([repr(vars(hub.gateway))])
    for secret in (signature, key, key.rstrip("=")):
        assert secret not in said
