"""What is stored reaches the cloud: outages, restarts, times to live, limits, full disks."""

import asyncio
import json
import os
import subprocess
import sys
from uuid import UUID

import pytest

from gateway import ManualClock, Settings
from gateway.events import ClientDisconnected
from tests.gateway import packets as p
from tests.gateway.disk import fill, small_disk
from tests.gateway.test_routing import bodies, configure, publish

START = 1_700_000_000.0


def flood(device, numbers, window=500):
    """PUBLISH packets of a device, in pieces of so many."""
    numbers = list(numbers)
    for start in range(0, len(numbers), window):
        part = numbers[start : start + window]
        yield (
            b"".join(
                p.publish(f"devices/{device}/messages/events/", b"%d" % number, packet_id=index)
                for index, number in enumerate(part, 1)
            ),
            len(part),
        )


async def send_all(client, device, numbers):
    """Publish, and see that everything is acknowledged in order."""
    for packets, count in flood(device, numbers):
        client.send(packets)
        assert await client.exactly(4 * count) == b"".join(p.puback(number) for number in range(1, count + 1))


async def until(hub, condition):
    """Let the gateway work until something is so."""
    async with asyncio.timeout(120):
        while not condition():
            await hub.turn()


async def stay(hub, device):
    """A device that is connected, with a token for a day."""
    client = await hub.dial()
    username = f"{hub.gateway.hub_hostname}/{device}/?api-version=2021-04-12"
    client.send(p.connect(device, username=username, password=hub.password(device, ttl=86_400)))
    assert await client.packet() == bytes((0x20, 2, 0, 0))
    return client


async def test_outage_of_two_hours_with_a_hundred_thousand_messages(start, tmp_path):
    """Everything arrives in order; the hours pass in no time, and who publishes meanwhile does not wait for the end."""
    hub = await start(state=tmp_path, settings=Settings(inbox_limit=200_000))
    configure(hub, cloud="FROM /messages/* INTO $upstream")
    devices = [f"dev{number}" for number in range(5)]
    clients = [await stay(hub, device) for device in devices]
    hub.gateway.upstream.link.switch("refused")
    for part in range(4):
        for device, client in zip(devices, clients, strict=True):
            await send_all(client, device, range(part * 5_000, (part + 1) * 5_000))
        hub.clock.advance(1800)
    assert hub.gateway.queue_lengths == {("$upstream", 2_000_000_000): 100_000}
    assert bodies(hub) == []
    hub.gateway.upstream.link.switch("up", noticed=True)
    hub.clock.advance(61)
    clients[0].send(p.publish("devices/dev0/messages/events/", b"20000", packet_id=7))
    assert await clients[0].packet() == p.puback(7)
    assert hub.gateway.queue_lengths[("$upstream", 2_000_000_000)] > 0
    inbox = hub.gateway.upstream.inbox
    await until(hub, lambda: len(inbox) == 100_001)
    for device in devices:
        of_device = [int(one.body) for one in inbox.messages if one.device_id == device]
        assert of_device == list(range(20_001 if device == "dev0" else 20_000))
    assert not hub.of(ClientDisconnected)
    hub.clock.advance(1)
    await hub.turn()
    assert hub.gateway.queue_lengths == {("$upstream", 2_000_000_000): 0}


async def test_what_outlived_its_time_over_a_power_cut_is_dropped(start, tmp_path):
    """The time to live that was in force when a message was stored goes on while the machine is off."""
    hub = await start(state=tmp_path)
    configure(hub, ttl=7200, cloud="FROM /messages/* INTO $upstream")
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, b"being sent", b"old")
    hub.clock.advance(3600)
    await publish(leaf, b"young")
    configure(hub, ttl=-1, cloud="FROM /messages/* INTO $upstream")
    await publish(leaf, b"for ever")
    await hub.close()
    again = await start(state=tmp_path, clock=ManualClock(START + 7200 + 60))
    await again.turn()
    assert bodies(again) == [b"young", b"for ever"]
    assert again.gateway.dropped == {"ttl_expiry": 2}


@pytest.mark.parametrize(("interval", "entire", "left"), [(1800, False, 4), (600, False, 3), (600, True, 2)])
async def test_clean_up_makes_room_in_an_outage(start, tmp_path, interval, entire, left):
    """Each MessageCleanupIntervalSecs, from the front or, with CheckEntireQueueOnCleanup, from everywhere."""
    settings = Settings(message_cleanup_interval=interval, check_entire_queue_on_cleanup=entire)
    hub = await start(state=tmp_path, settings=settings)
    short = {"route": "FROM /messages/* WHERE short = 'yes' INTO $upstream", "timeToLiveSecs": 60}
    configure(hub, ttl=7200, short=short, rest="FROM /messages/* WHERE NOT is_defined(short) INTO $upstream")
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, b"0")
    hub.gateway.upstream.link.switch("up", noticed=True)
    await hub.turn()
    hub.gateway.upstream.link.switch("refused")
    assert bodies(hub) == [b"0"]
    await publish(leaf, b"being sent")
    await publish(leaf, b"1", bag="short=yes")
    await publish(leaf, b"2")
    await publish(leaf, b"3", bag="short=yes")
    hub.clock.advance(601)
    for _ in range(3):
        await hub.turn()
    # What stands behind one that is still to be sent is gone from the queue, and from the store with it.
    assert hub.gateway.dropped.get("ttl_expiry", 0) == 4 - left
    hub.gateway.upstream.link.switch("up", noticed=True)
    await hub.turn()
    assert bodies(hub) == [b"0", b"being sent", b"2"]
    assert hub.gateway.dropped == {"ttl_expiry": 2}


async def test_messages_of_one_device_go_up_ten_at_a_time(start):
    """A slow line takes ten of each device a round trip; ten devices do not wait for each other."""
    hub = await start()
    one, other = await hub.join("one"), await hub.join("other")
    hub.gateway.upstream.link.switch("slow", latency=2)
    configure(hub, cloud="FROM /messages/* INTO $upstream")
    await publish(one, b"first")
    await send_all(one, "one", range(25))
    await send_all(other, "other", range(15))
    arrived = []
    for _ in range(4):
        hub.clock.advance(2)
        await hub.turn()
        arrived.append(len(bodies(hub)))
    assert arrived == [1, 21, 36, 41]


async def test_message_that_arrives_twice_has_one_id(start, tmp_path):
    """Whoever reads upstream can leave repetitions out; the second one comes after a restart here."""
    hub = await start(state=tmp_path)
    leaf = await hub.join()
    carry = hub.gateway.upstream.link._deliver

    def lose_the_answer(messages, done):
        carry(messages, lambda _: done(messages))

    hub.gateway.upstream.link._deliver = lose_the_answer
    await publish(leaf, b"1", b"2")
    await hub.turn()
    (first,) = hub.gateway.upstream.inbox.messages
    hub.gateway.upstream.link._deliver = carry
    await hub.close()
    again = await start(state=tmp_path)
    await again.turn()
    arrived = again.gateway.upstream.inbox.messages
    assert [one.body for one in (first, *arrived)] == [b"1", b"1", b"2"]
    ids = [one.annotations["edgeMessageId"] for one in (first, *arrived)]
    assert (ids[0] == ids[1], ids[1] == ids[2]) == (True, False)
    assert all(UUID(one).version == 5 for one in ids)


async def test_full_memory_refuses_and_takes_again(hub):
    """storeLimits: no PUBACK, the connection ends, what was acknowledged arrives, and then there is room again."""
    configure(hub, limits={"maxSizeBytes": 1_000}, cloud="FROM /messages/* INTO $upstream")
    leaf = await hub.join()
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf, bytes(400), bytes(401))
    leaf.send(p.publish(body=bytes(402), packet_id=3))
    await leaf.eof()
    gone = await hub.event(ClientDisconnected)
    assert "Memory store is full: 809 of 1000 bytes are taken" in gone.reason
    assert "Memory store is full" in hub.log.getvalue()
    hub.gateway.upstream.link.switch("up", noticed=True)
    hub.clock.advance(1)
    await hub.turn()
    again = await hub.join()
    await publish(again, bytes(402))
    assert [len(body) for body in bodies(hub)] == [400, 401, 402]


async def test_disk_full_of_other_things_refuses_and_takes_again(start, tmp_path):
    """A real file system without a byte left: refused, nothing acknowledged is lost, and room helps at once."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        hub = await start(state=disk, settings=Settings(feed_limit=0))  # what arrives is kept elsewhere
        configure(hub, cloud="FROM /messages/* INTO $upstream")
        leaf = await hub.join()
        hub.gateway.upstream.link.switch("refused")
        acknowledged = await until_refused(leaf, filler=disk / "filler")
        assert "make room" not in (await hub.event(ClientDisconnected)).reason
        assert "messages cannot be stored" in (await hub.event(ClientDisconnected)).reason
        refused = await hub.join()
        refused.send(p.publish(body=b"x" * 50_000))
        await refused.eof()
        (disk / "filler").unlink()
        again = await hub.join()
        await publish(again, b"room")
        hub.gateway.upstream.link.switch("up", noticed=True)
        await until(hub, lambda: len(bodies(hub)) == acknowledged + 1)
        assert bodies(hub) == [b"%d" % number + bytes(1_000) for number in range(acknowledged)] + [b"room"]
        await hub.close()


async def test_disk_full_of_messages_has_room_when_they_have_gone(start, tmp_path):
    """Nobody else's help is needed: so much is kept free that what arrived can be forgotten."""
    with small_disk(tmp_path / "disk", "6m") as disk:
        hub = await start(state=disk, settings=Settings(feed_limit=0))  # what arrives is kept elsewhere
        configure(hub, cloud="FROM /messages/* INTO $upstream")
        for _ in range(2):
            before = len(bodies(hub))
            leaf = await hub.join()
            hub.gateway.upstream.link.switch("refused")
            acknowledged = await until_refused(leaf)
            assert acknowledged > 1_000
            hub.gateway.upstream.link.switch("up", noticed=True)
            expected = before + acknowledged
            await until(hub, lambda expected=expected: len(bodies(hub)) == expected)
            hub.clock.advance(1)
            await hub.turn()
            assert hub.gateway.queue_lengths == {("$upstream", 2_000_000_000): 0}
        await hub.close()


async def until_refused(leaf, filler=None):
    """Publish a kilobyte at a time until the connection ends; how many were acknowledged. `filler` takes all room."""
    count = 0
    while True:
        if filler is not None and count == 100:
            fill(filler)
        leaf.send(p.publish(body=b"%d" % count + bytes(1_000), packet_id=1))
        try:
            assert await leaf.packet() == p.puback(1)
        except (EOFError, ConnectionError):
            return count
        count += 1


_NO_FSYNC = """
import ctypes, json, struct, sys
from pathlib import Path
from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store.sqlite import SqliteStore

CALLS = {"x86_64": (74, 75), "aarch64": (82, 83)}[sys.argv[3]]  # fsync, fdatasync
EIO, ALLOW, ERRNO, FILTER = 5, 0x7FFF0000, 0x00050000, 2


def one(code, yes, no, k):
    return struct.pack("HBBI", code, yes, no, k)


def break_fsync():
    program = one(0x20, 0, 0, 0) + one(0x15, 1, 0, CALLS[0]) + one(0x15, 0, 1, CALLS[1])
    program += one(0x06, 0, 0, ERRNO | EIO) + one(0x06, 0, 0, ALLOW)
    rules = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 5, ctypes.addressof(rules)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, FILTER, ctypes.byref(head), 0, 0):
        print(json.dumps({"cannot": ctypes.get_errno()}))
        sys.exit()


store = SqliteStore(Path(sys.argv[1]), durability=sys.argv[2])
store._checkpointer.stop()  # the checkpoint's thread has its own fsync, which is not what is looked for
break_fsync()
try:
    store.write([Message(1, "press", None, 0, "{}", "{}", b"x")])
    said = "stored"
except StoreError as error:
    said = error.message
print(json.dumps({"said": said}))
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.mark.parametrize(
    ("durability", "said"), [("normal", "stored"), ("full", "messages cannot be stored: disk I/O error")]
)
def test_full_durability_waits_for_the_disk(tmp_path, durability, said):
    """With fsync and fdatasync made to fail (seccomp), a commit of `full` fails, one of `normal` does not notice."""
    machine = os.uname().machine
    if machine not in ("x86_64", "aarch64"):
        pytest.skip(f"the numbers of fsync and fdatasync on {machine} are not known here")
    command = [sys.executable, "-c", _NO_FSYNC, str(tmp_path / "messages.db"), durability, machine]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if "cannot" in told:
        pytest.skip(f"this kernel does not filter system calls: {os.strerror(told['cannot'])}")
    assert told == {"said": said}
