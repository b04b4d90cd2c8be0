"""TLS as clients see it: certificates of either side, alerts both ways, versions, no resumption."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from certs import Authority, Role, apply_defects, serial_of
from certs.capture import capture
from gateway import Gateway, GatewayError
from gateway.errors import CertificateError
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, HandshakeFailed
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE, Client, tls_context

VERSIONS = ["1.2", "1.3"]
ALERT = b"\x15"


def self_signed(key, *, days=1, ago=0):
    """A self-signed client certificate, which may have expired."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press")])
    start = datetime.now(UTC) - timedelta(days=ago)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Client certificates of every kind: name -> (PEM file, what the client sends)."""
    folder, made = tmp_path_factory.mktemp("shown"), {}

    def keep(name, certificates, key):
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
        path = folder / f"{name}.pem"
        path.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        made[name] = (path, tuple(certificates))

    curve, numbers = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    keep("self-signed-ec", [self_signed(curve)], curve)
    keep("self-signed-rsa", [self_signed(numbers)], numbers)
    keep("expired", [self_signed(curve, ago=10)], curve)
    keep("not-yet-valid", [self_signed(curve, ago=-10)], curve)
    unknown = Authority(hostname="elsewhere", intermediates=2)
    leaf = unknown.device("press")
    above = [one.certificate for one in unknown.chain().levels if one.role in (Role.INTERMEDIATE, Role.ROOT)]
    keep("unknown-ca", [leaf.certificate], leaf.key)
    keep("unknown-chain", [leaf.certificate, *above], leaf.key)
    keep("chain-in-odd-order", [leaf.certificate, above[-1], above[0], above[0]], leaf.key)
    return made


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "kind",
    [None, "self-signed-ec", "self-signed-rsa", "expired", "not-yet-valid", "unknown-ca", "unknown-chain",
     "chain-in-odd-order"],
)  # fmt: skip
async def test_any_client_certificate_completes_the_handshake(hub, chain, shown, version, kind):
    """Whatever certificate or none: TLS completes, CONNECT is judged, and the whole chain is there as it was sent."""
    path, sent = shown[kind] if kind else (None, ())
    client = await hub.dial(tls_context(chain, versions=(version, version), certificate=path))
    client.send(hub.hello())
    assert await client.packet() == b"\x20\x02\0\0"
    assert hub.of(ClientConnected)[0].tls_version == f"TLSv{version}"
    (connection,) = hub.gateway._process.server.connections
    assert connection._tls.peer().certificates == tuple(der(sent))


async def test_answers_leave_at_once(hub):
    """Nagle's algorithm is off: an answer never waits for the peer's delayed acknowledgement."""
    await hub.join()
    (connection,) = hub.gateway._process.server.connections
    accepted = connection._transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def strange_certificate(key):
    """A certificate of version 9, which OpenSSL takes and `cryptography` refuses to read, and its PEM."""
    good = self_signed(key).public_bytes(Encoding.DER)
    assert good.count(b"\xa0\x03\x02\x01\x02") == 1
    bad = good.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x08")
    return ssl.DER_cert_to_PEM_cert(bad) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_client_certificate_that_cannot_be_read_is_judged_at_connect(hub, chain, tmp_path):
    """A certificate with an impossible version: CONNACK 5 without a token, 0 with one, and no callback fails."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    path = tmp_path / "strange.pem"
    path.write_text(strange_certificate(ec.generate_private_key(ec.SECP256R1())))
    context = tls_context(chain, certificate=path)
    client = await hub.dial(context)
    client.send(p.connect())
    assert await client.rest() == b"\x20\x02\0\5"
    await hub.join(context=context)
    assert failures == []


async def test_client_certificate_with_serial_zero_is_judged_at_connect(hub, chain, tmp_path):
    """The product wrote serial 0 itself; such a certificate is read without a warning."""
    old = Authority(hostname="elsewhere", generation="1.2", key="ec").chain().server
    path = tmp_path / "zero.pem"
    path.write_bytes(old.pem + old.key_pem)
    assert serial_of(old.certificate) == 0
    client = await hub.dial(tls_context(chain, certificate=path))
    client.send(p.connect())
    assert await client.rest() == b"\x20\x02\0\5"


async def failed(hub, context, **options):
    """A handshake that the client ends, and what the gateway says about it."""
    with pytest.raises(ssl.SSLCertVerificationError) as error:
        await hub.dial(context, **options)
    return error.value, await hub.event(HandshakeFailed)


@pytest.mark.parametrize("version", VERSIONS)
async def test_alert_unknown_ca_of_the_client_is_reported(hub, version):
    """A client that does not trust the root, which is sent: code 19 there, unknown_ca here."""
    stranger = tls_context(Authority(hostname="other").chain(), versions=(version, version))
    error, event = await failed(hub, stranger)
    assert error.verify_code == 19
    assert (event.alert, event.sent_by, event.server_name) == ("unknown_ca", "client", "localhost")
    assert "client sent alert unknown_ca: " in hub.log.getvalue()
    assert "[WRN] - TLS handshake failed., " in hub.log.getvalue()


@pytest.mark.parametrize("version", VERSIONS)
async def test_alert_bad_certificate_of_the_client_is_reported(hub, chain, version):
    """A client that wants another name: code 62 there, bad_certificate here, with the name as it was spelled."""
    error, event = await failed(hub, tls_context(chain, versions=(version, version)), server_name="Other.Example")
    assert error.verify_code == 62
    assert (event.alert, event.sent_by, event.server_name) == ("bad_certificate", "client", "Other.Example")


@pytest.mark.parametrize("version", VERSIONS)
async def test_alert_certificate_expired_of_the_client_is_reported(start, version):
    """An expired server certificate: code 10 there, certificate_expired here."""
    old = apply_defects(Authority(hostname="localhost").chain(), ["expired-server"])
    hub = await start(old)
    error, event = await failed(hub, tls_context(old, versions=(version, version)))
    assert error.verify_code == 10
    assert (event.alert, event.sent_by) == ("certificate_expired", "client")


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_that_leaves_after_the_handshake_is_reported_without_alert(hub, chain, version):
    """Many stacks judge the certificate afterwards and go without a word: the event says so."""
    client = await hub.dial(tls_context(chain, versions=(version, version)))
    client.raw(client.close_notify())
    event = await hub.event(HandshakeFailed, peer=client.peer)
    assert (event.alert, event.sent_by) == (None, None)
    assert event.reason == "the client left after the handshake, without CONNECT"


async def test_server_name_is_reported_as_spelled(hub, chain):
    """SNI keeps its case in the event; the certificate matches all the same."""
    await hub.join(dialled={"server_name": "LocalHost"})
    assert hub.of(ClientConnected)[0].server_name == "LocalHost"


async def test_server_name_may_be_missing(hub):
    """A client that connects to an address sends no SNI."""
    await hub.join(context=tls_context(), dialled={"server_name": None})
    assert hub.of(ClientConnected)[0].server_name is None


@pytest.mark.parametrize(("version", "record"), [("1.0", b"\3\1"), ("1.1", b"\3\2")])
async def test_old_client_gets_the_alert_protocol_version(hub, chain, version, record):
    """TLS 1.0 and 1.1 are refused with the alert on the wire, in the client's own version, and reported."""
    client = await hub.tcp()
    client.wrap(tls_context(chain, versions=(version, version)))
    client.raw(client.hello())
    assert await client.raw_rest() == ALERT + record + b"\0\2\2\x46"
    event = await hub.event(HandshakeFailed)
    assert (event.alert, event.sent_by) == ("protocol_version", "gateway")


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
async def test_old_versions_work_when_asked_for(start, chain, version):
    """TLS 1.0 to 1.3 on one gateway."""
    hub = await start(tls=["1.0", "1.3"])
    await hub.join(context=tls_context(chain, versions=(version, version)))
    name = "TLSv1" if version == "1.0" else f"TLSv{version}"
    assert hub.of(ClientConnected)[0].tls_version == name


async def test_gateway_of_an_older_generation_speaks_tls_1_2_alone():
    """Until release 1.5 Edge Hub had no TLS 1.3; the chain's generation decides unless `tls` does."""
    for generation, tls, expected in (
        ("1.2", None, "TLSv1.2"),
        ("1.2", ["1.2", "1.3"], "TLSv1.3"),
        ("1.5", None, "TLSv1.3"),
    ):
        served = Authority(hostname="localhost", generation=generation, key="ec").chain()
        async with Gateway(chain=served, tls=tls) as gateway:
            client = await Client.tls(gateway.mqtt_port, tls_context())
            assert client.ssl.version() == expected
            client.abort()


def damaged_hello(context):
    """A ClientHello whose session id is longer than it."""
    client = Client(None, None)
    client.wrap(context)
    hello = bytearray(client.hello())
    hello[43] = 200
    return bytes(hello)


@pytest.mark.parametrize(
    ("sent", "alert", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None, "http request"),
        (b"CONNECT x:443 HTTP/1.1\r\n\r\n", None, "https proxy request"),
        (p.connect(), None, "wrong version number"),
        (b"\xde\xad\xbe\xef" * 20, None, "wrong version number"),
        (bytes(100), None, "wrong version number"),
        (b"\x16\3\1\xff\xff" + b"x" * 100, 22, "data length too long"),
        (b"\x17\3\3\0\5hello", 10, "unexpected message"),
        (b"damaged hello", 50, "length mismatch"),
        (b"no shared cipher", 40, "no shared cipher"),
    ],
)
async def test_what_is_no_handshake_is_refused_and_reported_truly(hub, chain, sent, alert, reason):
    """HTTP, plain MQTT and garbage on the TLS port close; the event names an alert exactly when one went out."""
    if sent == b"damaged hello":
        sent = damaged_hello(tls_context(chain))
    elif sent == b"no shared cipher":
        context = tls_context(chain, versions=("1.2", "1.2"))
        context.set_ciphers("DHE-RSA-AES128-SHA")
        hello = Client(None, None)
        hello.wrap(context)
        sent = hello.hello()
    client = await hub.tcp()
    client.raw(sent)
    answer = await client.raw_rest()
    event = await hub.event(HandshakeFailed, peer=client.peer)
    assert reason in event.reason
    assert answer[5:] == (b"" if alert is None else bytes((2, alert)))
    names = {None: None, 10: "unexpected_message", 22: "record_overflow", 40: "handshake_failure", 50: "decode_error"}
    assert (event.alert, event.sent_by) == (names[alert], "gateway" if alert else None)


async def test_record_that_was_tampered_with_gets_bad_record_mac(hub):
    """A connected client whose record is damaged gets the alert, and its session ends."""
    client = await hub.join()
    record = bytearray(client.records(p.PINGREQ))
    record[-1] ^= 1
    client.raw(bytes(record))
    with pytest.raises(ssl.SSLError, match="bad record mac"):
        await client.packet()
    event = await hub.event(ClientDisconnected, peer=client.peer)
    assert "bad record mac" in event.reason


async def test_message_before_a_tampered_record_is_kept(hub):
    """What arrived well in the same segment is stored; the alert goes out, and no callback fails."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    client = await hub.join()
    good, bad = client.records(p.publish(body=b"good"), p.PINGREQ), bytearray(client.records(p.PINGREQ))
    bad[-1] ^= 1
    client.raw(good + bytes(bad))
    with pytest.raises(ssl.SSLError, match="bad record mac"):
        await client.packet()
    await hub.event(ClientDisconnected, peer=client.peer)
    assert (await hub.gateway.upstream.inbox.next_message(timeout=10)).body == b"good"
    assert failures == []


async def test_packet_and_close_in_one_segment_are_both_seen(hub):
    """close_notify right behind a packet: the answer comes, then the gateway closes at once."""
    client = await hub.join()
    client.raw(client.records(p.PINGREQ) + client.close_notify())
    assert await client.rest() == p.PINGRESP
    assert (await hub.event(ClientDisconnected, peer=client.peer)).reason == "Channel closed."


async def test_half_a_handshake_is_reported_when_the_client_goes(hub, chain):
    """A ClientHello cut in the middle and a closed socket: an event without alert; a bare connect and close: none."""
    silent = await hub.tcp()
    silent.abort()
    client = await hub.tcp()
    client.wrap(tls_context(chain))
    client.raw(client.hello()[:100])
    client.writer.write_eof()
    assert await client.raw_rest() == b""
    event = await hub.event(HandshakeFailed)
    assert (event.peer, event.alert, event.sent_by) == (client.peer, None, None)
    assert event.reason == "the client left during the handshake"
    assert len(hub.events) == 1


async def test_hello_byte_by_byte_completes(hub, chain):
    """A ClientHello in single bytes is a handshake all the same."""
    client = await hub.tcp()
    client.wrap(tls_context(chain))
    for byte in client.hello():
        client.raw(bytes((byte,)))
    await client.handshake()
    client.send(hub.hello())
    assert await client.packet() == b"\x20\x02\0\0"


@pytest.mark.parametrize("version", VERSIONS)
async def test_session_is_never_resumed(hub, chain, version):
    """A client that offers its old session gets a new handshake, and its certificate counts anew."""
    context = tls_context(chain, versions=(version, version))
    first = await hub.join(context=context)
    first.send(p.PINGREQ)
    await first.packet()
    second = await hub.dial(context, session=first.ssl.session)
    second.send(hub.hello())
    assert await second.packet() == b"\x20\x02\0\0"
    assert second.ssl.session_reused is False


async def test_renegotiation_is_refused_and_answered(hub):
    """A TLS 1.2 client that wants to renegotiate hears no_renegotiation at once, and nothing gathers."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    tls, client = SSL.Connection(context), await hub.tcp()
    tls.set_connect_state()

    async def until(step):
        while True:
            try:
                return step()
            except SSL.WantReadError:
                with contextlib.suppress(SSL.WantReadError):
                    client.raw(tls.bio_read(65_536))
                async with asyncio.timeout(PATIENCE):
                    tls.bio_write(await client.reader.read(65_536))

    await until(tls.do_handshake)
    assert tls.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        await until(tls.do_handshake)


def der(certificates):
    """Certificates as bytes."""
    return [one.public_bytes(Encoding.DER) for one in certificates]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "arrange",
    [
        lambda all_of: all_of,
        lambda all_of: all_of[:-1],
        lambda all_of: all_of[:1],
        lambda all_of: [all_of[0], *reversed(all_of[1:])],
        lambda all_of: [all_of[0], all_of[0], all_of[1], all_of[1], all_of[2]],
        lambda all_of: [all_of[0], all_of[-1]],
    ],
    ids=["with root", "without root", "leaf only", "reversed", "duplicates", "gap"],
)
async def test_chain_goes_on_the_wire_exactly_as_asked(start, version, arrange):
    """Order, duplicates, gaps, with or without the root: nothing is added, sorted or dropped."""
    made = Authority(hostname="localhost").chain()
    wanted = arrange([level.certificate for level in made.levels])
    hub = await start(made.sending(wanted), tls=[version])
    got = await asyncio.to_thread(capture, "127.0.0.1", hub.gateway.mqtt_port, server_name="localhost")
    assert der(got) == der(wanted)


async def test_new_chain_is_served_without_dropping_connections(hub, chain):
    """After reload() a new handshake needs the new root, the old connection goes on, the root's file is the new one."""
    old = await hub.join()
    fresh = Authority(hostname="localhost").chain()
    hub.gateway.reload(fresh)
    with pytest.raises(ssl.SSLCertVerificationError):
        await hub.dial()
    await hub.join("other", context=tls_context(hub.gateway.root_ca.read_text()))
    old.send(p.publish())
    assert await old.packet() == p.puback()
    assert hub.gateway.chain is fresh


async def test_reload_with_another_host_name_changes_the_accepted_audience(hub):
    """The gateway's own name counts in a token's audience, so a new chain's name counts from then on."""
    hub.gateway.add_device("press")
    key, expiry = hub.gateway.registry.get("press").primary_key, int(hub.clock.now()) + 60
    renamed = Authority(hostname="renamed.test").chain()
    hub.gateway.reload(renamed)
    answers = []
    for host in ("renamed.test", "localhost"):
        client = await hub.dial(tls_context(renamed), server_name="renamed.test")
        client.send(p.connect(password=p.sas(f"{host}/devices/press", key, expiry)))
        answers.append(await client.packet())
    assert answers == [b"\x20\2\0\0", b"\x20\2\0\5"]


def with_key(chain, key):
    """A chain that claims to have another server key."""
    return replace(chain, levels=(replace(chain.levels[0], key=key), *chain.levels[1:]))


@pytest.mark.parametrize("what", ["other key", "other kind of key", "no key", "no certificate", "wrong leaf"])
async def test_chain_that_cannot_be_served_is_refused(chain, what):
    """A key that does not belong to the first certificate, none at all, an empty chain: CertificateError."""
    bad = {
        "other key": with_key(chain, ec.generate_private_key(ec.SECP256R1())),
        "other kind of key": with_key(chain, rsa.generate_private_key(65537, 2048)),
        "no key": SimpleNamespace(
            hostname="localhost", generation="documented", sent=chain.sent, trust_pem=b"", key_pem=b"no PEM"
        ),
        "no certificate": chain.sending([]),
        "wrong leaf": chain.sending(chain.sent[1:]),
    }[what]
    gateway = Gateway(chain=bad)
    with pytest.raises(CertificateError) as error:
        await gateway.start()
    assert error.value.exit_code == 3
    assert "chain" in error.value.message
    assert "PRIVATE" not in str(error.value)


@pytest.mark.parametrize("tls", [["1.4"], ["1.2", "2"], "1.2"])
async def test_unknown_tls_version_is_refused(chain, tls):
    """A version that does not exist, or a text instead of a list: GatewayError that names the choices."""
    with pytest.raises(GatewayError, match="are no TLS versions") as error:
        await Gateway(chain=chain, tls=tls).start()
    assert error.value.hint == "choose from 1.0, 1.1, 1.2, 1.3"


async def test_reload_of_a_bad_chain_changes_nothing(hub, chain):
    """CertificateError, and the old chain is still served."""
    with pytest.raises(CertificateError):
        hub.gateway.reload(with_key(chain, ec.generate_private_key(ec.SECP256R1())))
    await hub.join()
    assert hub.gateway.chain is chain


async def test_alert_after_connect_is_no_handshake_failure(hub):
    """A client that is refused by CONNACK and then complains in TLS is told once, as refused."""
    client = await hub.dial()
    client.send(p.connect(password=b"bad"))
    assert await client.rest() == b"\x20\x02\0\5"
    await hub.event(ConnectionRefused, peer=client.peer)
    assert hub.of(HandshakeFailed) == []
