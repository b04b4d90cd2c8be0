"""Who is let in and who may stay, over real TLS: scope, cloud, certificates of an authority, re-authentication."""

import asyncio
import dataclasses

import pytest

from gateway import Device, ManualClock, RegistryError, Settings
from gateway.events import ClientConnected, ClientDisconnected, ConnectionRefused, HandshakeFailed
from tests.gateway import packets as p
from tests.gateway.client import tls_context
from tests.gateway.hub.identities import NOW
from tests.gateway.hub.x509 import DAY, hierarchy, make

ACCEPTED, REFUSED = b"\x20\2\0\0", b"\x20\2\0\5"
NOT_IN_SCOPE = "press is not in the scope of this gateway"


async def refusal(hub, packet, context=None):
    """What the gateway answers to a CONNECT, and its event."""
    client = await hub.dial(context)
    client.send(packet)
    answer = await client.rest()
    return answer, await hub.event(ConnectionRefused, peer=client.peer)


async def waiting(hub, *behind):
    """A client of a registered device whose CONNECT waits for the cloud, with these packets behind it."""
    packet = hub.hello()
    hub.gateway.upstream.link.switch("black-hole")
    client = await hub.dial()
    client.send(packet, *behind)
    await until(lambda: any(one._late for one in hub.gateway._process.server.connections))
    return client


async def until(true):
    """Let the loop turn until something is true."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what it waits for is inside the gateway, which tells nobody
            await asyncio.sleep(0)


def lines(hub):
    """What the log has said, without time and level."""
    return [line.partition("] - ")[2] for line in hub.log.getvalue().splitlines()]


# -- a CONNECT that waits for the cloud --------------------------------------------------------------------------------


async def test_stranger_waits_for_the_cloud_and_is_refused(hub):
    """100 s by the hub's clock: no answer before, CONNACK 5 then; the CONNECT deadline has nothing to do with it."""
    client = await waiting(hub)
    hub.clock.elapse(99)
    await hub.turn()
    assert hub.of(ConnectionRefused) == []
    hub.clock.elapse(1)
    assert await client.rest() == REFUSED
    assert (await hub.event(ConnectionRefused)).reason == NOT_IN_SCOPE
    assert hub.of(ClientConnected) == []


async def test_stranger_is_let_in_when_the_cloud_is_back(hub):
    """What it has sent behind its CONNECT meanwhile is done then, in order; its keep-alive begins then."""
    topic = ("$iothub/methods/POST/#", 0)
    client = await waiting(hub, p.subscribe(topic), p.publish(body=b"early"), p.PINGREQ)
    hub.clock.elapse(90)
    hub.gateway.upstream.online = True
    assert await client.packet() == ACCEPTED
    assert [await client.packet() for _ in range(3)] == [b"\x90\x03\0\1\0", p.PINGRESP, p.puback()]
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"early"]
    hub.clock.elapse(89)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def test_bytes_behind_a_waiting_connect_are_bounded(hub):
    """What does not fit stays with the peer until the answer; then nothing is lost."""
    client = await waiting(hub)
    (connection,) = hub.gateway._process.server.connections
    packets = [p.publish(body=bytes(8_000), packet_id=number) for number in range(1, 101)]
    client.send(*packets)
    await until(lambda: not connection._transport.is_reading())
    assert len(connection._partial) < 65_536 * 3
    hub.gateway.upstream.online = True
    assert await client.packet() == ACCEPTED
    assert [await client.packet() for _ in packets] == [p.puback(number) for number in range(1, 101)]


@pytest.mark.parametrize("how", ["abort", "reset", "close_notify"])
async def test_client_that_leaves_while_it_waits_is_forgotten(hub, how):
    """It is told as refused without an answer; the cloud's answer finds nobody."""
    client = await waiting(hub)
    if how == "close_notify":
        client.raw(client.close_notify())
    else:
        getattr(client, how)()
    event = await hub.event(ConnectionRefused)
    assert (event.client_id, event.code, event.reason) == ("press", None, "Channel closed.")
    hub.gateway.upstream.online = True
    await hub.turn()
    assert hub.of(ClientConnected) == hub.of(HandshakeFailed) == []
    assert hub.gateway._process.server.connections == set()


async def test_waiting_client_does_not_keep_the_gateway_from_stopping(hub):
    """Its connection closes without an answer."""
    client = await waiting(hub)
    await hub.gateway.stop()
    await client.eof()
    assert hub.of(ConnectionRefused)[0].reason == "the gateway is stopping"


async def test_bad_packet_behind_a_waiting_connect_counts_after_it(hub):
    """The client is let in first, as if its packets had come later."""
    client = await waiting(hub, b"\xff\x00")
    hub.gateway.upstream.online = True
    assert await client.rest() == ACCEPTED
    assert (await hub.event(ClientDisconnected)).reason.startswith("malformed packet")


# -- scope -------------------------------------------------------------------------------------------------------------


async def test_known_device_connects_while_the_cloud_is_away(hub):
    """Judged by the scope that is known here."""
    first = await hub.join()
    first.abort()
    await hub.event(ClientDisconnected)
    hub.gateway.upstream.online = False
    await hub.join()


async def test_known_device_connects_after_a_restart_without_the_cloud(start, tmp_path):
    """The scope outlives the gateway, in a file that its owner alone can read."""
    one = await start(state=tmp_path)
    (await one.join()).abort()
    await one.gateway.stop()
    assert (tmp_path / "scope.jsonl").stat().st_mode & 0o777 == 0o600
    clock = ManualClock()
    other = await start(state=tmp_path, clock=clock)
    await other.gateway.stop()
    other.gateway.upstream.online = False
    await other.gateway.start()
    client = await other.dial()
    client.send(other.hello())
    assert await client.packet() == ACCEPTED


@pytest.mark.parametrize(
    ("parent", "expected"), [(None, REFUSED), ("elsewhere", REFUSED), ("lower", ACCEPTED), ("leafgate-edge", ACCEPTED)]
)
async def test_device_connects_if_it_hangs_below_the_gateway(hub, parent, expected):
    """Directly or below another edge device; nobody's child and another gateway's child do not."""
    hub.gateway.add_device("lower", edge=True)
    hub.gateway.add_device("elsewhere", edge=True, parent=None)
    hub.gateway.add_device("press", parent=parent)
    client = await hub.dial()
    client.send(hub.hello())
    assert await client.packet() == expected
    if expected == REFUSED:
        assert (await hub.event(ConnectionRefused)).reason == NOT_IN_SCOPE
        assert f"Unable to generate identity for clientId press: {NOT_IN_SCOPE}" in lines(hub)


async def test_gateways_own_modules_connect(hub):
    """Modules of its edge device are in the scope."""
    await hub.join("leafgate-edge", "filter")


async def test_change_in_the_cloud_is_noticed_by_a_refresh(hub):
    """A device that is disabled is dropped then, not before; the log has the product's lines."""
    client = await hub.join(will=("devices/press/messages/events/", b"dropped"))
    hub.gateway.registry.update(dataclasses.replace(hub.gateway.registry.get("press"), enabled=False))
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    hub.gateway.refresh_scope()
    await client.eof()
    reason = "EdgeHubConnectionException: Connection closed for device press."
    assert (await hub.event(ClientDisconnected)).reason == reason
    said = lines(hub)
    for line in (
        "Service identity for press in device scope was updated.",
        "Service identity for press in device scope was updated, dropping client connection.",
        f"Closing connection for device: press, {reason}, 00000001",
    ):
        assert line in said
    answer, event = await refusal(hub, hub.hello())
    assert (answer, event.reason) == (REFUSED, "press is disabled")


@pytest.mark.parametrize("change", ["removed", "out of scope"])
async def test_device_that_is_gone_from_the_scope_is_dropped(hub, change):
    """Unregistered, or another gateway's child now; a device beside it stays."""
    client, other = await hub.join(), await hub.join("other")
    registry = hub.gateway.registry
    if change == "removed":
        registry.remove("press")
    else:
        registry.update(dataclasses.replace(registry.get("press"), parent=None))
    hub.gateway.refresh_scope()
    await client.eof()
    assert "Service identity for press was removed from device scope, dropping client connection." in lines(hub)
    other.send(p.PINGREQ)
    assert await other.packet() == p.PINGRESP


async def test_change_that_concerns_no_client_drops_nobody(hub):
    """A new secondary key, or another generation: whoever shows a good token stays."""
    client = await hub.join()
    hub.gateway.registry.update(dataclasses.replace(hub.gateway.registry.get("press"), secondary_key="AAAA"))
    hub.gateway.refresh_scope()
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    assert "Service identity for press in device scope was updated." in lines(hub)


async def test_scope_is_refreshed_every_hour_and_when_the_link_is_back(hub):
    """Without anybody asking for it."""
    client = await hub.join()
    hub.gateway.registry.remove("press")
    hub.clock.advance(3_600)
    await client.eof()
    client = await hub.join("other")
    hub.gateway.upstream.online = False
    hub.gateway.registry.remove("other")
    hub.clock.advance(120)
    hub.gateway.upstream.online = True
    await client.eof()


# -- re-authentication -------------------------------------------------------------------------------------------------


async def test_expired_token_ends_its_connection_within_five_minutes(hub):
    """Judged every 300 s; the token passes until five minutes after its expiry, and only its own client goes."""
    client, other = await hub.dial(), await hub.join("other")
    client.send(p.connect(password=hub.password(ttl=100)))
    assert await client.packet() == ACCEPTED
    hub.clock.advance(300)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    hub.clock.advance(299)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    hub.clock.advance(1)
    await client.eof()
    assert (await hub.event(ClientDisconnected)).client_id == "press"
    said = lines(hub)
    for line in (
        "Starting timer to authenticate connections with a period of 300 seconds",
        "Entering periodic task to reauthenticate connected clients",
        "Reauthenticating client press failed, removing client connection",
        "Unable to re-authenticate press, dropping client connection.",
    ):
        assert line in said
    other.send(p.PINGREQ)
    assert await other.packet() == p.PINGRESP


async def test_clock_that_is_set_back_judges_nobody(hub):
    """A new period begins, and is as long as any other."""
    client = await hub.join()
    hub.clock.advance(-DAY)
    await hub.turn()
    hub.clock.advance(299)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    entering = "Entering periodic task to reauthenticate connected clients"
    assert entering not in lines(hub)
    hub.clock.advance(1)
    await hub.turn()
    assert entering in lines(hub)


async def test_client_beyond_the_limit_is_not_judged_again(start):
    """The product does not know that it is connected, so it stays."""
    hub = await start(settings=Settings(max_connected_clients=1))
    first, second = await hub.join(), await hub.join("other")
    hub.clock.advance(3600 + 301)
    await first.eof()
    second.send(p.PINGREQ)
    assert await second.packet() == p.PINGRESP


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("scope", REFUSED), ("cloud-and-scope", ACCEPTED), ("cloud", ACCEPTED)])
async def test_device_out_of_scope_connects_if_the_hub_may_be_asked(start, mode, expected):
    """AuthenticationMode."""
    hub = await start(settings=Settings(authentication_mode=mode))
    hub.gateway.add_device("press", parent=None)
    client = await hub.dial()
    client.send(hub.hello())
    assert await client.packet() == expected
    authenticated = expected == ACCEPTED
    assert ("Authenticated press with IotHub" in lines(hub)) is authenticated
    assert ("Created device scope identities cache" in lines(hub)) is (mode != "cloud")


async def test_cloud_that_is_away_lets_nobody_in(start):
    """AuthenticationMode Cloud: 20 s, then 5; refreshing a scope there is none of does nothing."""
    hub = await start(settings=Settings(authentication_mode="cloud"))
    hub.gateway.refresh_scope()
    client = await waiting(hub)
    hub.clock.elapse(20)
    assert await client.rest() == REFUSED
    assert (await hub.event(ConnectionRefused)).reason == "IoT Hub cannot be asked about the token"


# -- certificates of an authority --------------------------------------------------------------------------------------


ROOT, MIDDLE, LEAF = hierarchy()


@pytest.fixture
def showing(chain, tmp_path):
    """A client's TLS context that shows these certificates, its own first."""

    def showing(own, *others):
        path = tmp_path / "client.pem"
        path.write_bytes(own.pem + b"".join(other.pem.partition(b"-----BEGIN PRIVATE")[0] for other in others))
        return tls_context(chain, certificate=path)

    return showing


@pytest.fixture
async def by_authority(start):
    """A gateway that trusts ROOT, at the time of its certificates, and a device that has one of them."""
    hub = await start(trust_bundle=[ROOT.certificate], clock=ManualClock(NOW))
    hub.gateway.add_device("press", authentication="certificateAuthority")
    return hub


async def test_certificate_of_a_trusted_authority_connects(by_authority, showing):
    """With its intermediate; the connection string says x509, and it is judged again while connected."""
    client = await by_authority.dial(showing(LEAF, MIDDLE))
    client.send(p.connect())
    assert await client.packet() == ACCEPTED
    assert ";x509=true;" in by_authority.gateway.connection_string("press")
    by_authority.clock.advance(300)
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    by_authority.clock.advance(DAY)
    await client.eof()
    assert "Certificate with subject: CN=press has expired" in lines(by_authority)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ([LEAF], "no certificate of its chain is in the trust bundle"),
        ([make("lathe", MIDDLE), MIDDLE], "the certificate's common name (CN) is not the device id"),
        ([make("press", MIDDLE, days=(-2, -1)), MIDDLE], "the certificate has expired"),
        ([make("press", MIDDLE, days=(1, 2)), MIDDLE], "the certificate is not valid yet"),
        ([make("press", MIDDLE, ca=(True, None)), MIDDLE], "the certificate is a CA certificate"),
        (list(reversed(hierarchy())), "no certificate of its chain is in the trust bundle"),
    ],
)
async def test_certificate_that_is_wrong_is_refused(by_authority, showing, shown, reason):
    """The handshake completes; CONNECT is answered with 5 and one reason, which the log has as well."""
    answer, event = await refusal(by_authority, p.connect(), showing(*shown))
    assert (answer, event.code, event.reason) == (REFUSED, 5, reason)
    assert f"Error authenticating certificate for press because {reason}" in lines(by_authority)


async def test_trust_bundle_is_the_chains_root_unless_given(start, chain, showing):
    """Devices whose certificates come from the gateway's own root connect; another chain brings another root."""
    hub = await start(clock=ManualClock(NOW))
    hub.gateway.add_device("press", authentication="certificateAuthority")
    answer, event = await refusal(hub, p.connect(), showing(LEAF, MIDDLE))
    assert (answer, event.reason) == (REFUSED, "no certificate of its chain is in the trust bundle")
    hub.gateway.reload(dataclasses.replace(chain, trust=(ROOT.certificate,)))
    client = await hub.dial(showing(LEAF, MIDDLE))
    client.send(p.connect())
    assert await client.packet() == ACCEPTED


async def test_device_changes_its_kind_of_authentication(by_authority, showing):
    """From a certificate to a key: the first failure has the scope asked, and the new kind is known."""
    context = showing(LEAF, MIDDLE)
    client = await by_authority.dial(context)
    client.send(p.connect())
    assert await client.packet() == ACCEPTED
    by_authority.gateway.registry.update(Device("press", primary_key="AAAA", secondary_key="AAAA"))
    by_authority.clock.advance(121)
    token = p.sas(f"{by_authority.gateway.hub_hostname}/devices/press", "AAAA", NOW + DAY)
    client = await by_authority.dial(context)
    client.send(p.connect(password=token))
    assert await client.packet() == ACCEPTED


async def test_deleted_device_is_dropped_and_leaves_nothing(hub):
    """With its modules, twins and waiting messages; a refresh of the scope ends its connection, and it starts anew."""
    client = await hub.join()
    hub.gateway.connection_string("press", "filter")
    upstream = hub.gateway.upstream
    for name in ("press", "press/filter"):
        upstream.twins.update_desired(name, {"a": 1})
    upstream.commands.send("press", b"x")
    hub.gateway.remove_device("press")
    assert (upstream.registry.get("press"), upstream.registry.get("press", "filter")) == (None, None)
    hub.gateway.refresh_scope()
    await client.eof()
    assert upstream.commands.depth("press") == 0
    assert {upstream.twins.get(name).desired_version for name in ("press", "press/filter")} == {1}
    await hub.join()


async def test_deleted_module_leaves_its_device(hub):
    """Only the module's twin is gone."""
    hub.gateway.connection_string("press", "filter")
    upstream = hub.gateway.upstream
    for name in ("press", "press/filter"):
        upstream.twins.update_desired(name, {"a": 1})
    upstream.commands.send("press", b"x")
    hub.gateway.remove_device("press", "filter")
    assert upstream.commands.depth("press") == 1
    assert [upstream.twins.get(name).desired_version for name in ("press", "press/filter")] == [2, 1]
    with pytest.raises(RegistryError, match="is not registered"):
        hub.gateway.remove_device("press", "filter")
