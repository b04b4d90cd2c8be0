"""What the cloud's side of a gateway keeps with `--state`: over restarts, kills and other gateways."""

import asyncio
import json
import signal
import sys

import pytest

from gateway import Device, Gateway, ManualClock, RegistryError, StoreError
from gateway.events import ClientDisconnected
from gateway.upstream.activity import Times
from gateway.upstream.database import HubDatabase
from tests.gateway import packets as p


async def test_cloud_survives_a_restart(start, tmp_path):
    """Registrations, twins, messages that wait or were locked, feedback, and when a client was there last."""
    one = await start(state=tmp_path)
    hub = one.gateway.upstream
    client = await one.join("press")
    device = one.gateway.registry.get("press")
    one.gateway.add_device("lathe", enabled=False)
    hub.twins.update("press", tags={"hall": 4}, desired={"speed": 1})
    hub.twins.update_reported("press", {"speed": 1})
    hub.commands.send("press", b"first", system_properties={"message-id": "m"}, ack="full")
    hub.commands.complete(hub.commands.receive("press").lock_token)
    hub.commands.send("press", b"locked")
    hub.commands.send("press", b"waits")
    assert hub.commands.receive("press").body == b"locked"
    twin = hub.twins.get("press")
    one.clock.advance(10)
    client.abort()
    await one.event(ClientDisconnected, client_id="press")
    came_and_went = hub.activity.times("press")
    assert came_and_went == Times(1_700_000_010.0, 1_700_000_010.0)
    await one.gateway.stop()

    again = (await start(state=tmp_path)).gateway
    assert (again.registry.get("press"), again.registry.get("press").etag) == (device, device.etag)
    assert not again.registry.get("lathe").enabled
    assert again.upstream.twins.get("press") == twin
    assert [record.original_message_id for record in again.upstream.commands.feedback] == ["m"]
    assert [again.upstream.commands.receive("press").body for _ in range(2)] == [b"locked", b"waits"]
    assert again.upstream.activity.times("press") == came_and_went


async def test_edge_hub_that_starts_again_keeps_the_cloud(start, tmp_path):
    """The cloud does not restart with it: locks stay, and the database stays with this gateway."""
    hub = await start(state=tmp_path)
    hub.gateway.upstream.commands.send("press", b"x")
    locked = hub.gateway.upstream.commands.receive("press")
    await hub.gateway.restart()
    assert hub.gateway.upstream.commands.receive("press") is None
    hub.gateway.upstream.commands.complete(locked.lock_token)
    with pytest.raises(StoreError, match="is in use by another gateway"):
        HubDatabase(tmp_path / "hub.db").hold()


async def test_stopped_gateway_lets_others_in_and_sees_what_they_did(chain, tmp_path):
    """It can still be read and registered with; started again it has what others have made of it meanwhile."""
    clock = ManualClock(1_700_000_000.0)
    first = Gateway(chain=chain, state=tmp_path, clock=clock)
    async with first:
        first.add_device("press")
        first.upstream.twins.update_tags("press", {"a": 1})
    async with Gateway(chain=chain, state=tmp_path, clock=clock) as second:
        second.upstream.twins.update_tags("press", {"a": 2})
        second.add_device("lathe")
        assert "press" in first.registry
        with pytest.raises(StoreError, match="is in use by another gateway"):
            first.add_device("saw")
    first.add_device("saw")
    async with first:
        assert first.upstream.twins.get("press").tags == {"a": 2}
        assert [name in first.registry for name in ("press", "lathe", "saw")] == [True, True, True]
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(("-wal", "-shm"))]


async def test_message_that_arrives_is_activity_and_one_that_does_not_is_none(hub):
    """Of its device or module, when it arrives; the state of the connection has nothing to do with it."""
    times, start = hub.gateway.upstream.activity.times, hub.clock.now()
    client = await hub.join("press")
    module = await hub.join("press", "filter")
    hub.gateway.upstream.link.switch("refused")
    hub.clock.advance(5)
    client.send(p.publish())
    assert await client.packet() == p.puback()
    assert times("press") == times("press/filter") == Times(start, start)
    hub.gateway.upstream.link.switch("up", noticed=True)
    module.send(p.publish("devices/press/modules/filter/messages/events/"))
    assert await module.packet() == p.puback()
    await hub.gateway.upstream.inbox.next_message(timeout=10)
    await hub.gateway.upstream.inbox.next_message(timeout=10)
    assert times("press") == times("press/filter") == Times(start, start + 5)


async def test_gateway_without_state_leaves_nothing(start, tmp_path, monkeypatch):
    """Its cloud is in memory, and outlives a stop there."""
    monkeypatch.chdir(tmp_path)
    hub = await start()
    hub.gateway.upstream.twins.update_tags("press", {"a": 1})
    await hub.gateway.stop()
    await hub.gateway.start()
    assert hub.gateway.upstream.twins.get("press").tags == {"a": 1}
    await hub.gateway.stop()
    assert list(tmp_path.iterdir()) == []


async def test_old_registry_is_taken_over_at_the_first_start(chain, start, tmp_path):
    """A state folder of an earlier leafgate: its devices connect with the keys they have."""
    device = Device("press", primary_key="a2V5", generation_id="600")
    document = {"device_id": "press", "module_id": None, "primary_key": "a2V5", "secondary_key": "a2V5",
                "thumbprints": [], "enabled": True, "authentication": "sas", "edge": False, "parent": "",
                "generation_id": "600", "etag": "QQ=="}  # fmt: skip
    line = json.dumps({"set": document}) + "\n"
    (tmp_path / "registry.jsonl").write_text(line)
    hub = await start(state=tmp_path)
    await hub.join("press")
    assert hub.gateway.registry.get("press").primary_key == device.primary_key
    assert (tmp_path / "registry.jsonl.migrated").read_text() == line
    assert not (tmp_path / "registry.jsonl").exists()


async def test_device_id_of_the_gateway_that_is_taken_stops_the_start(chain, tmp_path):
    """RegistryError, and nothing stays locked."""
    Gateway(chain=chain, state=tmp_path).add_device("press")
    with pytest.raises(RegistryError, match="registered as a device that is no edge device"):
        await Gateway(chain=chain, state=tmp_path, edge_device_id="press").start()
    async with Gateway(chain=chain, state=tmp_path) as gateway:
        assert "press" in gateway.registry


_CHANGE = """
import asyncio, sys
from pathlib import Path
from gateway import Gateway

async def main(state):
    gateway = Gateway(state=Path(state))
    async with gateway:
        hub, number = gateway.upstream, len(gateway.upstream.commands.feedback)
        while True:
            gateway.add_device(f"d{number}")
            version = hub.twins.update(f"d{number}", tags={"n": number}, desired={"n": number}).version
            hub.twins.update_reported("shared", {"n": number})
            hub.commands.send("press", b"x", system_properties={"message-id": str(number)}, ack="positive")
            hub.commands.complete(hub.commands.receive("press").lock_token)
            print(number, flush=True)
            number += 1
            await asyncio.sleep(0)

asyncio.run(main(sys.argv[1]))
"""


async def test_cloud_survives_a_kill(start, tmp_path):
    """Five times SIGKILL in the middle: whatever had returned by then is there, once, in order."""
    told = -1
    for run in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHANGE, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3 + 7 * run):
            told = int(await process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = await process.stdout.read()
        told = max([told, *map(int, rest.split())])
        await process.wait()
        gateway = (await start(state=tmp_path)).gateway
        finished = [int(record.original_message_id) for record in gateway.upstream.commands.feedback]
        assert finished == list(range(len(finished)))
        assert len(finished) in (told + 1, told + 2)  # the last one may have ended before it could be told
        for number in finished:
            twin = gateway.upstream.twins.get(f"d{number}")
            assert f"d{number}" in gateway.registry
            assert (twin.tags, twin.desired, twin.version) == ({"n": number}, {"n": number}, 2)
        assert gateway.upstream.twins.get("shared").reported["n"] in (len(finished) - 1, len(finished))
        left = f"d{len(finished)}"  # of a round that was cut off
        if left in gateway.registry:
            gateway.remove_device(left)
        gateway.upstream.commands.purge("press")
        await gateway.stop()
