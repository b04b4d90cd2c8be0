"""The gateway as a whole: life cycle, ports, state, storing before PUBACK, kill -9."""

import asyncio
import os
import random
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import msgpack
import pytest

from gateway import Gateway, GatewayError, ManualClock, PortError, RegistryError, Settings, StoreError
from gateway.events import ClientConnected, ClientDisconnected
from gateway.hub.messages import Message
from tests.gateway import packets as p
from tests.gateway.client import Client, descriptor_count, tls_context

TOPIC = "devices/press/messages/events/"


# -- life cycle -------------------------------------------------------------------------------------------------------


async def test_gateway_without_arguments_works():
    """It makes a chain of its own, takes a free port and is reached with the root it names."""
    async with Gateway() as gateway:
        assert gateway.mqtt_port > 1023
        assert gateway.bind == "127.0.0.1"
        secret = gateway.connection_string("press")
        client = await Client.tls(gateway.mqtt_port, tls_context(gateway.root_ca.read_text()))
        key = gateway.registry.get("press").primary_key
        client.send(p.connect(password=p.sas("localhost/devices/press", key, int(gateway.clock.now()) + 60)))
        assert await client.packet() == b"\x20\x02\0\0"
        client.abort()
    assert secret == (f"HostName=hub.leafgate.test;DeviceId=press;SharedAccessKey={key};GatewayHostName=localhost")


async def test_connection_string_of_a_module_names_it(chain):
    """It has ModuleId and the module's own key; asking again gives the same."""
    gateway = Gateway(chain=chain, hub_hostname="My.Hub")
    text = gateway.connection_string("press", "filter")
    key = gateway.registry.get("press", "filter").primary_key
    assert text == (f"HostName=My.Hub;DeviceId=press;ModuleId=filter;SharedAccessKey={key};GatewayHostName=localhost")
    assert gateway.connection_string("press", "filter") == text
    with pytest.raises(RegistryError):
        gateway.connection_string("press", "")


async def test_device_may_be_added_with_its_key(chain):
    """A given key is kept; an id that is taken is refused."""
    gateway = Gateway(chain=chain)
    assert gateway.add_device("press", primary_key="AAAA").primary_key == "AAAA"
    with pytest.raises(RegistryError, match="registered already"):
        gateway.add_device("press")


def test_port_is_unknown_before_the_start(chain):
    """Asking is an error that says so."""
    with pytest.raises(GatewayError, match="has not been started"):
        _ = Gateway(chain=chain).mqtt_port


async def test_starting_twice_is_refused_and_harmless(hub):
    """The running gateway goes on."""
    client = await hub.join()
    with pytest.raises(GatewayError, match="running already"):
        await hub.gateway.start()
    client.send(p.PINGREQ)
    assert await client.packet() == p.PINGRESP
    await hub.join("another")


async def test_stopping_twice_is_harmless(chain):
    """Also without ever having started."""
    gateway = Gateway(chain=chain)
    await gateway.stop()
    await gateway.start()
    await gateway.stop()
    await gateway.stop()


async def test_stopped_gateway_closes_everything(hub):
    """Clients see the end, the port is free, events say why, the temporary folder is gone."""
    client, port, state = await hub.join(), hub.gateway.mqtt_port, hub.gateway.state
    assert state.is_dir()
    await hub.gateway.stop()
    await client.eof()
    assert hub.of(ClientDisconnected)[0].reason == "the gateway is stopping"
    assert not state.exists()
    with pytest.raises(ConnectionRefusedError):
        await Client.tcp(port)


async def test_gateway_restarts_on_its_port(hub):
    """The same object, the same port, registrations and inbox still there, numbers going on."""
    client, port = await hub.join(), hub.gateway.mqtt_port
    client.send(p.publish(body=b"1"))
    await client.packet()
    await hub.gateway.stop()
    await hub.gateway.start()
    assert hub.gateway.mqtt_port == port
    client = await hub.join()
    client.send(p.publish(body=b"2"))
    await client.packet()
    assert [(one.sequence, one.body) for one in hub.gateway.upstream.inbox.messages] == [(1, b"1"), (2, b"2")]


async def test_two_gateways_live_in_one_process(start):
    """Each has its own port, devices, inbox and clock."""
    one, two = await start(), await start(clock=ManualClock(1_800_000_000))
    first, second = await one.join(), await two.join("other")
    first.send(p.publish(body=b"one"))
    second.send(p.publish(body=b"two"))
    assert [await first.packet(), await second.packet()] == [p.puback(), p.puback()]
    assert [each.body for each in one.gateway.upstream.inbox.messages] == [b"one"]
    assert [each.body for each in two.gateway.upstream.inbox.messages] == [b"two"]
    assert "other" not in one.gateway.registry
    await two.gateway.stop()
    first.send(p.PINGREQ)
    assert await first.packet() == p.PINGRESP


async def test_gateways_come_and_go_without_a_trace(chain, tmp_path):
    """Twenty gateways, with and without state: tasks, threads, descriptors and folders as before."""
    async with Gateway(chain=chain, state=tmp_path / "warm"):
        pass
    before = descriptor_count(), len(asyncio.all_tasks()), threading.active_count()
    for number in range(20):
        async with Gateway(chain=chain, state=tmp_path / "kept" if number % 2 else None) as gateway:
            state = gateway.state
        assert state.exists() is bool(number % 2)
    assert (descriptor_count(), len(asyncio.all_tasks()), threading.active_count()) == before


# -- what cannot start ------------------------------------------------------------------------------------------------


async def test_busy_port_is_told_with_a_way_out(hub, chain):
    """PortError with address, port, reason and hint; the first gateway goes on; nothing is left open."""
    before = descriptor_count()
    gateway = Gateway(chain=chain, mqtt_port=hub.gateway.mqtt_port)
    with pytest.raises(PortError) as error:
        await gateway.start()
    assert descriptor_count() == before
    found = error.value
    assert (found.address, found.port, found.exit_code) == ("127.0.0.1", hub.gateway.mqtt_port, 3)
    assert found.message == f"cannot listen on 127.0.0.1:{hub.gateway.mqtt_port}: address already in use"
    assert "another program has this port" in found.hint
    await hub.join()


@pytest.mark.parametrize(
    ("bind", "port", "reason", "hint"),
    [
        ("192.0.2.1", 0, "cannot assign requested address", "this machine has no such address"),
        ("no such host", 0, "", "check --bind"),
        ("127.0.0.1", 70_000, "0-65535", "check --bind and --mqtt-port"),
        ("127.0.0.1", -1, "0-65535", "check --bind and --mqtt-port"),
    ],
)
async def test_address_or_port_that_does_not_exist_is_told(chain, bind, port, reason, hint):
    """Another machine's address, a name nobody knows, a number that is no port."""
    with pytest.raises(PortError) as error:
        await Gateway(chain=chain, bind=bind, mqtt_port=port).start()
    assert error.value.message.startswith(f"cannot listen on {bind}:{port}: ")
    assert reason in error.value.message
    assert hint in error.value.hint


PRIVILEGED = """
import asyncio, os
from gateway import Gateway, PortError
gateway = Gateway(mqtt_port=443)
if os.getuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(gateway.start())
except PortError as error:
    print(error.message)
    print(error.hint)
"""


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 443, reason="any user may bind 443 here"
)
def test_privileged_port_is_told_with_a_way_out(tmp_path):
    """A real user without privileges asks for port 443: permission denied, and what to do."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", PRIVILEGED], cwd=root, env={**os.environ, "TMPDIR": "/tmp"}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert result.stdout.splitlines()[:1] == ["cannot listen on 127.0.0.1:443: permission denied"], result.stderr
    assert "ports below 1024 need a privilege" in result.stdout


async def test_failed_start_can_be_tried_again(chain):
    """Once the port is free the same gateway starts."""
    blocker = socket.create_server(("127.0.0.1", 0))
    gateway = Gateway(chain=chain, mqtt_port=blocker.getsockname()[1])
    with pytest.raises(PortError):
        await gateway.start()
    blocker.close()
    async with gateway:
        assert gateway.root_ca.exists()


async def test_state_that_is_no_folder_is_told(chain, tmp_path):
    """A file where the folder should be: GatewayError with a hint."""
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(GatewayError, match="cannot write to") as error:
        await Gateway(chain=chain, state=path).start()
    assert "--state" in error.value.hint
    assert path.read_text() == ""


# -- events -----------------------------------------------------------------------------------------------------------


async def test_observer_that_raises_disturbs_nobody(hub, caplog):
    """The others are told, the client is served, the failure is in the log; unsubscribing ends the calls."""

    def broken(event):
        raise RuntimeError("observer's own fault")

    leave = hub.gateway.events.subscribe(broken)
    later = []
    hub.gateway.events.subscribe(later.append)
    await hub.join()
    assert [type(one) for one in later] == [ClientConnected]
    assert "an observer of gateway events failed" in caplog.text
    leave()
    leave()
    caplog.clear()
    await hub.join("other")
    assert "failed" not in caplog.text


async def test_settings_are_checked():
    """A limit that cannot be is refused at once, as is a name that does not exist."""
    for bad in ({"max_packet_size": 0}, {"connect_timeout": -1}, {"nonsense": 1}, {"durability": "some"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Settings(**bad)


# -- state ------------------------------------------------------------------------------------------------------------


async def test_state_survives_a_restart(start, tmp_path):
    """Another gateway on the same folder knows the devices, their keys and the next number; secrets are 0600."""
    state = tmp_path / "new" / "state"
    hub = await start(state=state)
    client = await hub.join()
    client.send(p.publish(body=b"1"), p.publish(body=b"2", packet_id=2))
    await client.packets(2)
    device = hub.gateway.registry.get("press")
    await hub.gateway.stop()
    again = await start(state=state)
    assert again.gateway.registry.get("press") == device
    client = await again.join()
    client.send(p.publish(body=b"3"))
    await client.packet()
    assert [(one.sequence, one.body) for one in again.gateway.upstream.inbox.messages] == [(3, b"3")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir() if path.name != "root.pem"}
    assert {name for name in modes if not name.endswith(("-wal", "-shm"))} == {
        "arrived.db", "arrived.lock", "hub.db", "hub.lock", "messages.db", "messages.lock", "scope.jsonl",
    }  # fmt: skip
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


async def test_message_that_the_log_does_not_have_stays_in_the_store(start, tmp_path):
    """Its disk is full, so the gateway does not let go of what has arrived, and sends it again in its next life."""
    hub = await start(state=tmp_path)
    log = hub.gateway.upstream.inbox.history
    pages = log._database.execute("PRAGMA page_count").fetchone()[0]
    log._database.execute(f"PRAGMA max_page_count={pages}").fetchall()
    client = await hub.join()
    client.send(p.publish(body=bytes(200_000)))
    await client.packet()
    await hub.gateway.stop()
    assert "the log of what arrived cannot be written: database or disk is full" in hub.log.getvalue()
    again = await start(state=tmp_path)
    assert [(one.gateway_sequence, len(one.body)) for one in again.gateway.upstream.inbox.messages] == [(1, 200_000)]


async def test_log_of_what_arrived_is_left_out_on_request(start, tmp_path):
    """Then numbers begin anew with each start."""
    for _ in range(2):
        hub = await start(state=tmp_path, settings=Settings(feed_limit=0))
        client = await hub.join()
        client.send(p.publish())
        await client.packet()
        assert [one.sequence for one in hub.gateway.upstream.inbox.messages] == [1]
        await hub.gateway.stop()
    assert not (tmp_path / "arrived.db").exists()


async def test_devices_may_be_added_before_the_first_start(chain, tmp_path):
    """The folder comes into being with the first registration."""
    gateway = Gateway(chain=chain, state=tmp_path / "a" / "b")
    gateway.add_device("press")
    assert "press" in Gateway(chain=chain, state=tmp_path / "a" / "b").registry


async def test_message_that_was_not_forwarded_goes_first_after_a_restart(start, tmp_path):
    """What waits in the store arrives upstream at the start, before anything new; each hub numbers for itself."""
    state = tmp_path / "state"
    hub = await start(state=state)
    await hub.gateway.stop()
    database = sqlite3.connect(state / "messages.db")
    waiting = msgpack.packb([(41, "press", None, 1000, "{}", "{}", b"old")])
    database.execute("INSERT INTO batch_1 VALUES (41, ?)", (waiting,))
    database.commit()
    database.close()
    again = await start(state=state)
    client = await again.join()
    client.send(p.publish(body=b"new"))
    await client.packet()
    got = [(one.sequence, one.gateway_sequence, one.body) for one in again.gateway.upstream.inbox.messages]
    assert got == [(1, 41, b"old"), (2, 42, b"new")]


async def test_damaged_or_newer_store_stops_the_start(chain, tmp_path):
    """StoreError, the file as it was, nothing left open; the same for IoT Hub's database and the registry before it."""
    (tmp_path / "messages.db").write_bytes(b"not a database " * 100)
    before = descriptor_count()
    with pytest.raises(StoreError, match="not a database"):
        await Gateway(chain=chain, state=tmp_path).start()
    assert (tmp_path / "messages.db").read_bytes() == b"not a database " * 100
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hub.db").write_bytes(b"not a database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Gateway(chain=chain, state=tmp_path / "hub").start()
    assert (tmp_path / "hub" / "hub.db").read_bytes() == b"not a database " * 100
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "registry.jsonl").write_text("not json\n")
    with pytest.raises(RegistryError, match="cannot read the registry"):
        await Gateway(chain=chain, state=tmp_path / "old").start()
    assert (tmp_path / "old" / "registry.jsonl").read_text() == "not json\n"
    assert descriptor_count() == before


async def test_state_is_for_one_gateway_at_a_time(start, chain, tmp_path):
    """A second gateway on the folder is refused with a hint, and the first one goes on."""
    hub = await start(state=tmp_path)
    with pytest.raises(StoreError, match="in use by another gateway"):
        await Gateway(chain=chain, state=tmp_path).start()
    client = await hub.join()
    client.send(p.publish())
    assert await client.packet() == p.puback()


# -- store before PUBACK ----------------------------------------------------------------------------------------------


async def test_puback_is_sent_only_after_the_write_has_returned(hub, monkeypatch):
    """While write() runs no PUBACK is on its way; it goes out right after."""
    client, order = await hub.join(), []
    from gateway.broker.connection import Connection

    write, flush = hub.gateway._folder.open_store().write, Connection.flush

    def watched(messages, queue):
        order.append("write begins")
        write(messages, queue)
        order.append("write returns")

    monkeypatch.setattr(hub.gateway._folder.open_store(), "write", watched)
    monkeypatch.setattr(Connection, "flush", lambda self: (order.append("flush"), flush(self))[1])
    client.send(p.publish())
    assert await client.packet() == p.puback()
    assert order == ["write begins", "write returns", "flush"]


async def test_full_store_closes_without_puback_and_the_gateway_lives(start, tmp_path):
    """A real SQLite file that may not grow: the publisher is closed unanswered, others stay, later it works again."""
    hub = await start(state=tmp_path)
    publisher, idle = await hub.join("publisher"), await hub.join("idle")
    store = hub.gateway._process.server.intake._store
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count={pages}").fetchall()
    publisher.send(p.publish(body=bytes(200_000)))
    await publisher.eof()
    event = await hub.event(ClientDisconnected, peer=publisher.peer)
    assert event.reason == "a message could not be stored: messages cannot be stored: database or disk is full"
    assert "[ERR] - messages cannot be stored: database or disk is full" in hub.log.getvalue()
    idle.send(p.PINGREQ)
    assert await idle.packet() == p.PINGRESP
    store._database.execute("PRAGMA max_page_count=1000000").fetchall()
    again = await hub.join("publisher")
    again.send(p.publish(body=b"now"))
    assert await again.packet() == p.puback()
    assert [(one.sequence, one.body) for one in hub.gateway.upstream.inbox.messages] == [(1, b"now")]


SERVE = """
import asyncio, sys
from pathlib import Path
from certs import layout
from gateway import Gateway

async def main(state):
    gateway = Gateway(state=Path(state))
    await gateway.start()
    for number in range(4):
        gateway.connection_string(f"d{number}")
    keys = [gateway.registry.get(f"d{number}").primary_key for number in range(4)]
    print(gateway.mqtt_port, *keys, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


class Load:
    """Four publishers with different windows, and the last message of each that has been acknowledged."""

    def __init__(self, port, keys, enough):
        self.port, self.keys, self.enough = port, keys, enough
        self.acknowledged = {}
        self.reached = asyncio.Event()

    def start(self):
        """The publishers, which run until the gateway is gone."""
        return [asyncio.ensure_future(self.publish(*one)) for one in enumerate((1, 5, 20, 100))]

    async def publish(self, number, window):
        """Publish numbered messages with `window` of them unanswered."""
        client, name = await Client.tls(self.port, tls_context()), f"d{number}"
        token = p.sas(f"localhost/devices/{name}", self.keys[number], 4_000_000_000)
        client.send(p.connect(name, f"hub/{name}/?api-version=1", token))
        topic, sent = f"devices/{name}/messages/events/", 0
        try:
            await client.packet()
            while True:
                batch = range(sent, sent + window)
                client.send(*(p.publish(topic, str(one).encode(), packet_id=one % 65_535 + 1) for one in batch))
                for one in batch:
                    assert await client.packet() == p.puback(one % 65_535 + 1)
                    self.acknowledged[number] = one
                    if sum(self.acknowledged.values()) >= self.enough:
                        self.reached.set()
                sent += window
        except (EOFError, ConnectionError):
            client.abort()


def check_store(path, acknowledged):
    """Everything acknowledged is in the file, in order and once; returns the numbers that wait there."""
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    forgotten = database.execute("SELECT through FROM queue").fetchone()[0]
    batches = database.execute("SELECT messages FROM batch_1 ORDER BY last").fetchall()
    database.close()
    messages = (Message(*fields) for (packed,) in batches for fields in msgpack.unpackb(packed))
    rows = [(one.sequence, one.device_id, one.body) for one in messages if one.sequence > forgotten]
    numbers = [row[0] for row in rows]
    assert numbers == list(range(forgotten + 1, forgotten + 1 + len(rows)))
    assert sum(last + 1 for last in acknowledged.values()) <= forgotten + len(rows)
    for number, last in acknowledged.items():
        stored = [int(body) for _, device, body in rows if device == f"d{number}"]
        if not forgotten:  # what has been delivered leaves the file, 2,000 at a time
            assert stored[0] == 0
            assert last <= stored[-1]
        if stored:
            assert stored == list(range(stored[0], stored[-1] + 1))
    return numbers


def check_arrived(feed, acknowledged):
    """Everything acknowledged can be read, from both lives, in order; what arrived twice is there twice."""
    bodies, after, numbers = defaultdict(list), 0, []
    while after < feed.latest:
        page = feed.read(after)
        assert page.missed == 0
        after = page.next
        numbers += [one.sequence for one in page.events]
        for one in page.events:
            if one.source == "Telemetry":
                bodies[one.device_id].append(int(one.body))
    assert numbers == sorted(set(numbers))
    for number, last in acknowledged.items():
        first_time = list(dict.fromkeys(bodies[f"d{number}"]))
        assert first_time[: last + 1] == list(range(last + 1))


@pytest.mark.parametrize(("least", "most"), [(1, 100), (200, 1_000), (1_000, 1_500), (4_500, 6_500)])
async def test_kill_loses_no_acknowledged_message(tmp_path, least, most):
    """kill -9 under load: each message that got its PUBACK is in the file, and a restart delivers what waits there."""
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(tmp_path), cwd=root, stdout=asyncio.subprocess.PIPE
    )
    try:
        port, *keys = (await process.stdout.readline()).decode().split()
        load = Load(int(port), keys, random.Random(least).randint(least, most))
        publishers = load.start()
        await load.reached.wait()
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await asyncio.gather(*publishers)
    waiting = check_store(tmp_path / "messages.db", load.acknowledged)
    async with Gateway(state=tmp_path) as again:
        await again.settled()
        assert [one.gateway_sequence for one in again.upstream.inbox.messages] == waiting
        check_arrived(again.upstream.feed, load.acknowledged)
        assert len(again.registry) == 4 + 2  # and the gateway's own device with its $edgeHub
