"""Edge Hub's process over the life of its certificates: real gateways, real handshakes, a clock that is moved."""

import asyncio
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from certs import Authority, CertsError, Role, other_root
from certs.renewal import limit_device_ca, renew_device_ca
from gateway import Gateway, GatewayError, ManualClock, PortError, Settings, SystemClock
from gateway.broker.listener import bind
from gateway.events import ClientDisconnected, HubExited, HubStarted
from tests.gateway import packets as p
from tests.gateway.client import descriptor_count, tls_context
from tests.gateway.conftest import running

MINUTE, DAY = 60, 86_400
DESIRED = "$iothub/twin/PATCH/properties/desired/#"


@pytest.fixture(scope="module")
def year():
    """A hierarchy whose authorities live a year; the server certificate has 30 days."""
    return Authority(hostname="localhost", generation="1.5", key="ec", days=365).chain()


@pytest.fixture
async def live(year):
    """Starts gateways whose clock shows the machine's time: `await live(renewal="missed")`."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def live(chain=None, *, renewal="restart", **options):
            chain = chain or year
            options.setdefault("clock", ManualClock())
            settings = Settings(renewal=renewal)
            return await stack.enter_async_context(running(chain, tls_context(chain), settings=settings, **options))

        yield live


async def pass_time(hub, seconds):
    """Let time pass for everybody, and the gateway do what is due."""
    hub.clock.advance(seconds)
    await hub.gateway.settled()


def end_of(hub):
    """Seconds from now to the end of the gateway's server certificate, by its clock."""
    return hub.gateway.chain.server.template.not_after.timestamp() - hub.clock.now()


def numbers(hub):
    """How often it has exited and started."""
    return len(hub.of(HubExited)), len(hub.of(HubStarted))


async def refused(hub):
    """What a new handshake fails with."""
    with pytest.raises(ssl.SSLCertVerificationError) as error:
        await hub.dial()
    return error.value.verify_code


async def test_restart_comes_half_of_five_minutes_before_the_end(live):
    """Not before; then every client is dropped, the ports are the same, and certificate and key are new."""
    hub = await live()
    old, ports = hub.gateway.chain, (hub.gateway.mqtt_port, hub.gateway.https_port)
    await pass_time(hub, end_of(hub) - 3 * MINUTE)
    client, web = await hub.join(), await hub.join_web("other")
    assert numbers(hub) == (0, 0)
    await pass_time(hub, MINUTE)
    assert numbers(hub) == (1, 1)
    await client.eof()
    await web.client.rest()
    assert {event.client_id for event in hub.of(ClientDisconnected)} == {"press", "other"}
    new = hub.gateway.chain
    assert (hub.gateway.mqtt_port, hub.gateway.https_port) == ports
    assert new.levels[1:] == old.levels[1:]
    assert new.server.certificate.public_key() != old.server.certificate.public_key()
    assert end_of(hub) == pytest.approx(30 * DAY, abs=2)
    assert hub.of(HubStarted)[0].expires == new.server.template.not_after.timestamp()
    await hub.join()
    text = hub.log.getvalue()
    for line in (
        "Scheduling server certificate renewal for",
        "Restarting process to perform server certificate renewal.",
        "Stopping the protocol heads...",
        "Shutdown complete.",
    ):
        assert line in text


async def test_renewal_follows_renewal_and_a_leap_is_one(live):
    """A year's leap ends in one restart, with a certificate of that day."""
    hub = await live()
    for count in (1, 2, 3):
        await pass_time(hub, end_of(hub) - MINUTE)
        assert numbers(hub) == (count, count)
    await pass_time(hub, 200 * DAY)
    assert numbers(hub) == (4, 4)
    await hub.join()


async def test_session_outlives_a_restart_with_its_subscriptions(live):
    """The client that comes back finds its session, and what it has subscribed to."""
    hub = await live()
    client = await hub.join(clean=False)
    client.send(p.subscribe((DESIRED, 1)))
    await client.packet()
    await hub.gateway.restart()
    again = await hub.join(clean=False, present=True)
    hub.gateway.upstream.twins.update_desired("press", {"speed": 3})
    assert b'"speed":3' in await again.packet()


async def test_message_that_was_acknowledged_is_not_lost_by_a_restart(live):
    """And telemetry goes on in order."""
    hub = await live()
    for body in (b"one", b"two"):
        client = await hub.join()
        client.send(p.publish("devices/press/messages/events/", body))
        assert await client.packet() == p.puback()
        await hub.gateway.restart()
    assert [each.body for each in hub.gateway.upstream.inbox.messages] == [b"one", b"two"]


@pytest.mark.parametrize("renewal", ["restart", "missed", "down", "loop"])
async def test_certificate_that_ends_is_met_as_the_setting_says(live, renewal):
    """Renewed; served on, which a leaf refuses as expired until somebody restarts; or nobody listens any more."""
    hub = await live(renewal=renewal)
    await pass_time(hub, 31 * DAY)
    if renewal == "missed":
        assert (await refused(hub), numbers(hub)) == (10, (0, 0))
    elif renewal == "down":
        with pytest.raises(ConnectionRefusedError):
            await hub.tcp()
        assert (numbers(hub), hub.gateway.life.down) == ((1, 0), True)
    await hub.gateway.restart()
    await hub.join()
    assert not hub.gateway.life.down


async def test_ports_stay_the_gateways_while_it_is_down(live):
    """Nobody is given them who takes any free port, so that the gateway can come back."""
    hub = await live(renewal="down")
    await pass_time(hub, 30 * DAY)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", hub.gateway.mqtt_port))
    with pytest.raises(GatewayError, match="running already"):
        await hub.gateway.start()
    await hub.gateway.stop()
    bind("127.0.0.1", hub.gateway.mqtt_port).close()


@pytest.mark.parametrize("renewal", ["restart", "loop"])
async def test_issuer_that_ends_too_leaves_no_time(live, year, renewal):
    """The new certificate ends with it: served on as expired, or one restart after the other with growing pauses."""
    hub = await live(limit_device_ca(year, 30), renewal=renewal)
    await pass_time(hub, end_of(hub) - MINUTE)
    assert end_of(hub) == pytest.approx(MINUTE, abs=1)
    assert '[WRN] - Server certificate is expired ("00:0' in hub.log.getvalue()
    if renewal == "restart":
        assert numbers(hub) == (1, 1)
        assert "Not scheduling renewal." in hub.log.getvalue()
        await hub.join()
        await pass_time(hub, 2 * MINUTE)
        assert (await refused(hub), numbers(hub)) == (10, (1, 1))
    else:
        assert "Not scheduling" not in hub.log.getvalue()
        for count, pause in enumerate((10, 20, 40, 80, 160, 300, 300), 1):
            assert numbers(hub) == (count + 1, count)
            assert hub.log.getvalue().rstrip().endswith(f"scheduled to restart after {pause} seconds")
            with pytest.raises(ConnectionRefusedError):
                await hub.tcp()
            await pass_time(hub, pause - 1)
            assert numbers(hub) == (count + 1, count)
            await pass_time(hub, 1)
    await hub.gateway.restart(renew_device_ca)
    await hub.join()
    assert not hub.gateway.life.down


async def test_loop_ends_by_itself_once_the_issuer_is_good_again(live, year):
    """The next start gets a certificate with time left; the count of restarts begins anew."""
    hub = await live(limit_device_ca(year, 30), renewal="loop")
    await pass_time(hub, 30 * DAY)
    hub.gateway.chain = renew_device_ca(hub.gateway.chain, datetime.fromtimestamp(hub.clock.now(), UTC), whole=False)
    await pass_time(hub, 10)
    await hub.join()
    assert numbers(hub) == (2, 2)


async def test_expired_certificate_that_was_given_is_served(live, year):
    """What is wrong on purpose stays wrong: a start with no time left schedules nothing, and a restart cures it."""
    hub = await live(year.shifted(-31 * DAY))
    assert await refused(hub) == 10
    await hub.gateway.restart()
    await hub.join()


async def test_daemons_own_ca_is_renewed_at_four_fifths_of_its_life(live):
    """With a new key, and a restart; who trusts the old one is locked out, the gateway's file has the new one."""
    hub = await live(Authority(hostname="localhost", generation="quickstart", key="ec").chain())
    old = hub.gateway.chain
    await pass_time(hub, 71 * DAY)
    await hub.join()
    assert hub.gateway.chain.levels[1] == old.levels[1]
    await pass_time(hub, 2 * DAY)
    assert "Edge CA was renewed" in hub.log.getvalue()
    assert await refused(hub) in (7, 20)
    hub.context = ssl.create_default_context(cafile=str(hub.gateway.root_ca))
    await hub.join()
    assert hub.gateway.chain.trust != old.trust


async def test_device_ca_from_a_file_is_not_renewed(live):
    """Neither by time nor when asked for: the daemon leaves it alone."""
    hub = await live()
    await pass_time(hub, 300 * DAY)
    assert "Edge CA was renewed" not in hub.log.getvalue()
    with pytest.raises(GatewayError, match="no device CA that was configured as a file"):
        await hub.gateway.life.renew_ca()
    quick = await live(Authority(hostname="localhost", generation="quickstart", key="ec").chain())
    old = quick.gateway.chain.level(Role.DEVICE_CA)
    await quick.gateway.life.renew_ca()
    assert quick.gateway.chain.level(Role.DEVICE_CA) != old


@pytest.mark.parametrize(("move", "code"), [("advance", 10), ("step", None)])
async def test_time_that_passed_is_seen_in_a_handshake_and_a_set_clock_is_not(live, move, code):
    """Dates on the wire follow what has passed, at once and for new handshakes; what was connected stays."""
    hub = await live(renewal="missed")
    client = await hub.dial()
    client.send(p.connect(password=hub.password(ttl=100 * DAY)))
    assert await client.packet() == b"\x20\2\0\0"
    getattr(hub.clock, move)(31 * DAY)
    if code is None:
        await hub.dial()
    else:
        assert await refused(hub) == code
        served, chain = hub.gateway.served, hub.gateway.chain
        assert served.server.template.not_after == chain.server.template.not_after - timedelta(days=31)
        hub.clock.advance(-33 * DAY)
        assert await refused(hub) == 9
        hub.clock.advance(2 * DAY)
        await hub.dial()
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP


async def test_clock_that_is_set_leaves_the_timer_alone(live):
    """NTP steps over the renewal: nothing happens, and what a wrong clock has issued stays expired."""
    hub = await live()
    hub.clock.step(-40 * DAY)
    await hub.gateway.restart()
    assert await refused(hub) == 10
    await hub.gateway.settled()
    hub.clock.step(40 * DAY)
    await hub.gateway.settled()
    assert (await refused(hub), numbers(hub)) == (10, (1, 1))
    await hub.gateway.restart()
    await hub.join()


async def test_clock_is_not_moved_where_the_chain_cannot_follow(live, year):
    """Whoever moves it hears why: a certificate that is sent has no key here."""
    hub = await live(year.sending([*year.sent, other_root(year)]))
    before = hub.clock.now(), hub.clock.passed()
    with pytest.raises(CertsError, match="cannot be moved in time"):
        hub.clock.advance(DAY)
    assert (hub.clock.now(), hub.clock.passed()) == before


async def test_reload_sets_the_timer_by_the_new_chain(live, year):
    """A chain that is served from now on is renewed at its own moment."""
    hub = await live()
    hub.gateway.reload(limit_device_ca(year, 10))
    await pass_time(hub, 9 * DAY)
    assert numbers(hub) == (0, 0)
    await pass_time(hub, DAY)
    assert numbers(hub)[1] == 1


async def test_restart_that_fails_leaves_it_down_and_the_next_one_brings_it_up(live):
    """The port was taken in the meantime; the error says so."""
    hub = await live(https_port=None, renewal="down")
    await pass_time(hub, 30 * DAY)
    hub.gateway._places.release()
    thief = bind("127.0.0.1", hub.gateway.mqtt_port)
    thief.listen()
    try:
        with pytest.raises(PortError):
            await hub.gateway.restart()
        assert hub.gateway.life.down
    finally:
        thief.close()
    await hub.gateway.restart()
    await hub.join()


async def test_renewal_that_fails_is_told_in_the_log(live, monkeypatch):
    """Nobody waits for it, so nobody could catch it."""
    hub = await live()

    async def boot():
        raise PortError("127.0.0.1", 8883, "address already in use", "take another port")

    monkeypatch.setattr(hub.gateway, "boot", boot)
    await pass_time(hub, 30 * DAY)
    assert "[ERR] - Edge Hub stays down: cannot listen on 127.0.0.1:8883" in hub.log.getvalue()
    assert hub.gateway.life.down


async def test_restarts_at_once_are_done_one_after_the_other(live):
    """Whoever asks while one is going on waits, and gets another."""
    hub = await live()
    await asyncio.gather(*(hub.gateway.restart() for _ in range(5)))
    assert numbers(hub) == (5, 5)
    await hub.join()


async def test_gateway_that_was_not_started_does_not_restart(year):
    """Before its start and after its end."""
    gateway = Gateway(chain=year)
    with pytest.raises(GatewayError, match="not running"):
        await gateway.restart()
    async with gateway:
        pass
    with pytest.raises(GatewayError, match="not running"):
        await gateway.restart()


async def test_clock_of_two_gateways_restarts_both_and_only_what_is_due(live, year):
    """Each by its own certificate."""
    clock = ManualClock()
    short, long = await live(clock=clock), await live(limit_device_ca(year, 40), clock=clock, renewal="missed")
    clock.advance(30 * DAY)
    await short.gateway.settled()
    await long.gateway.settled()
    assert (numbers(short), numbers(long)) == ((1, 1), (0, 0))
    await short.join()
    assert await refused(long) == 10


async def test_clock_moved_by_another_thread_is_noticed(live):
    """The gateway's own loop does the work."""
    hub = await live()
    await asyncio.to_thread(hub.clock.advance, 31 * DAY)
    await hub.event(HubStarted)
    await hub.join()


@pytest.mark.parametrize("renewal", ["restart", "missed", "down", "loop"])
async def test_life_leaves_nothing_behind(year, renewal):
    """No task, thread, timer or socket, in whichever state a gateway is stopped; moving the clock is harmless then."""
    chain = limit_device_ca(year, 30)

    async def live_once():
        clock = ManualClock()
        gateway = Gateway(chain=chain, clock=clock, settings=Settings(renewal=renewal))
        async with gateway:
            clock.advance(30 * DAY)
            await gateway.settled()
            clock.advance(MINUTE)
        clock.advance(DAY)
        return clock

    await live_once()
    before = descriptor_count(), len(asyncio.all_tasks()), threading.active_count()
    for _ in range(5):
        clock = await live_once()
        assert clock._observers == []
    assert descriptor_count() == before[0]
    assert len(asyncio.all_tasks()) == before[1]
    scheduled = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]
    assert scheduled == []


async def test_gateway_stopped_in_the_middle_of_a_restart_is_stopped(year):
    """Nothing comes up afterwards."""
    gateway = Gateway(chain=year)
    await gateway.start()
    exited = asyncio.Event()
    gateway.events.subscribe(lambda event: exited.set())
    restarting = asyncio.create_task(gateway.restart())
    await exited.wait()
    await gateway.stop()
    with pytest.raises(GatewayError, match="was stopped"):
        await restarting
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gateway.mqtt_port)
    async with gateway:
        assert not gateway.life.down


async def test_known_devices_get_in_after_a_restart_without_the_cloud(live):
    """The device scope is kept; an unknown device is not let in."""
    hub = await live()
    await hub.join()
    hub.gateway.upstream.online = False
    await hub.gateway.restart()
    await hub.join()


async def test_renewal_on_the_machines_clock(year):
    """Real timers, with a clock that is close to the moment and runs: nobody has to move it."""

    class Close(SystemClock):
        def now(self):
            return time.time() + ahead

    ahead = year.server.template.not_after.timestamp() - time.time() - 5 * MINUTE - 1
    gateway = Gateway(chain=year, clock=Close(), settings=Settings(renewal="loop"))
    exited = asyncio.Event()
    gateway.events.subscribe(lambda event: exited.set() if isinstance(event, HubExited) else None)
    async with gateway:
        assert gateway.life._server._handle.when() - asyncio.get_running_loop().time() == pytest.approx(151, abs=1)
        gateway.life._server.set(0.01)
        async with asyncio.timeout(20):
            await exited.wait()
