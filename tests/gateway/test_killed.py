"""What a gateway has acknowledged is not lost when its process is killed."""

import asyncio
import json
import os
import random
import signal
import ssl
import sys
import time
from collections import deque

import pytest

from certs import layout
from leafsim.connection import ConnectionString
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE, Client, tls_context

LIVES = 50
WINDOWS = (1, 20, 100) * 3
UNFORGOTTEN, BATCH = 500, 100  # what a gateway sends again: arrived and not forgotten yet, or just under way


class Device:
    """A publisher that sends again, in order, what was not acknowledged when its gateway died."""

    def __init__(self, name, text, window):
        self.name, self.window = name, window
        self.key = ConnectionString.parse(text).shared_access_key
        self.hub = ConnectionString.parse(text).host_name
        self.waiting = deque()  # numbers that are not acknowledged
        self.next = 0
        self.acknowledged = 0

    def connect(self):
        """A CONNECT that keeps the session."""
        password = p.sas(f"{self.hub}/devices/{self.name}", self.key, int(time.time()) + 3600)
        username = f"{self.hub}/{self.name}/?api-version=2021-04-12"
        return p.connect(self.name, username=username, password=password, clean=False)

    def packet(self, number, dup=False):
        """A PUBLISH."""
        topic = f"devices/{self.name}/messages/events/"
        return p.publish(topic, b"%d" % number, packet_id=number % 65_535 + 1, dup=dup)

    async def live(self, port, context, more):
        """Publish for as long as `more` says so and the gateway lives; each PUBACK has to be the one that is due."""
        client = await Client.tls(port, context)
        try:
            client.send(self.connect())
            connack = await client.packet()
            assert connack[:1] + connack[3:] == b"\x20\x00"
            client.send(*(self.packet(number, dup=True) for number in self.waiting))
            while self.waiting or more():
                while more() and len(self.waiting) < self.window:
                    client.send(self.packet(self.next))
                    self.waiting.append(self.next)
                    self.next += 1
                if self.waiting:
                    number = self.waiting[0]
                    assert await client.exactly(4) == p.puback(number % 65_535 + 1)
                    self.waiting.popleft()
                    self.acknowledged += 1
            client.send(p.DISCONNECT)
        finally:
            client.abort()


class Room:
    """The program that runs the gateways, and the publishers."""

    def __init__(self, process, context, devices):
        self.process, self.context, self.devices = process, context, devices

    @property
    def acknowledged(self):
        """How many messages have been acknowledged so far."""
        return sum(device.acknowledged for device in self.devices)

    async def hear(self):
        """What the program says next."""
        async with asyncio.timeout(3 * PATIENCE):
            said = json.loads(await self.process.stdout.readline())
        assert "failed" not in said, said
        return said

    async def order(self, line):
        """Start a gateway."""
        self.process.stdin.write(f"{line}\n".encode())
        return await self.hear()

    async def life(self, link, count):
        """Let a gateway live until it has acknowledged so many messages (0: until it listens), and kill it."""
        facts = await self.order(link)
        goal, alive = self.acknowledged + count, True

        def more():
            nonlocal alive
            if alive and self.acknowledged >= goal:
                os.kill(facts["pid"], signal.SIGKILL)
                alive = False
            return alive

        async def publish(device):
            try:
                await device.live(facts["port"], self.context, more)
            except (OSError, EOFError, ssl.SSLError):
                assert not alive  # nobody but this test ends a connection

        await asyncio.gather(*map(publish, self.devices))

    async def last_life(self, each):
        """Let every device send some more, and the gateway finish."""
        facts = await self.order("up")
        goals = {device: device.next + each for device in self.devices}
        await asyncio.gather(
            *(
                device.live(facts["port"], self.context, lambda device=device: device.next < goals[device])
                for device in self.devices
            )
        )
        os.kill(facts["pid"], signal.SIGTERM)
        assert await self.hear() == {"finished": True}


@pytest.fixture
async def room(tmp_path, chain):
    """The program, and nine devices."""
    layout.save(chain, tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.gateway.killed", str(tmp_path), str(len(WINDOWS))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        devices = json.loads(await process.stdout.readline())["devices"]
        publishers = [Device(*each, window) for each, window in zip(devices.items(), WINDOWS, strict=True)]
        yield Room(process, tls_context(chain), publishers)
    finally:
        process.stdin.close()
        await process.wait()


async def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(room, tmp_path):
    """Fifty SIGKILLs under load, with the link up and down: all of it is upstream and in order, repetitions are few.

    A message that is sent again by the gateway has the number that it had before, so whoever reads upstream can leave
    repetitions out; one that a device repeats because it got no PUBACK is a new message, marked mqtt-dup.
    """
    dice = random.Random(5)
    await room.life("up", 500)  # the device scope is known from now on
    for _ in range(LIVES - 1):
        await room.life(dice.choice(["up", "up", "refused"]), dice.choice([0, 10, dice.randrange(100, 2_000)]))
    await room.last_life(200)
    arrived = [line.split() for line in (tmp_path / "upstream.txt").read_text().splitlines()]
    repeated = resent = 0
    for device in room.devices:
        lines = [(int(sequence), int(number)) for name, sequence, number in arrived if name == device.name]
        messages = dict(lines)
        assert len(set(lines)) == len(messages)  # one number of the gateway's is one message
        assert list(messages) == sorted(messages)  # each for the first time in the order in which it was stored
        assert list(dict.fromkeys(messages.values())) == list(range(device.next))  # and that is how it was sent
        repeated += len(lines) - len(messages)
        resent += len(messages) - device.next
    sent = sum(device.next for device in room.devices)
    assert room.acknowledged == sent
    assert len(arrived) == sent + repeated + resent
    assert repeated < LIVES * (UNFORGOTTEN + BATCH)
    assert resent <= LIVES * sum(WINDOWS)
    print(f"{sent} messages, {repeated} repeated by the gateway, {resent} by devices")  # noqa: T201
