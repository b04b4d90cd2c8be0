"""Where one scenario plays: a real gateway on a free port, and real leaves that connect to it.

Rule: everything is real but the way to the host: leaves reach the gateway's name by `connect_to`, so that no hosts
file is needed; the name in TLS and in MQTT stays the one in the connection string.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from certs import Chain
from certs.names import common_name
from certs.rekey import other_authority
from gateway import Gateway, MovableClock, Settings
from gateway.events import ClientConnected, ClientDisconnected
from scenarios.arrivals import Arrivals, difference
from scenarios.cast import Actor, casting, write_trust
from scenarios.chainplan import ChainPlan
from scenarios.errors import NotAsExpected
from scenarios.probing import StackNote, measured, probe
from scenarios.record import Record
from scenarios.timeline import Timeline

if TYPE_CHECKING:
    from scenarios.attempt import Attempt
    from scenarios.expectations import Arrived, Verdict
    from scenarios.model import Loaded, Scenario


@dataclass(frozen=True)
class Acknowledged:
    """How many messages were acknowledged, and what stopped the rest."""

    count: int
    trouble: str = ""


def plan_for(scenario: Scenario, seed: int | None) -> ChainPlan:
    """The chain that the scenario's gateway serves. A scenario may break the naming rule: that is its story."""
    gateway = scenario.gateway
    return ChainPlan(
        hostname=gateway.hostname,
        generation=gateway.generation,
        device_ca_cn=gateway.device_ca_cn,
        intermediates=gateway.intermediates,
        key=gateway.key,
        ip_san=gateway.ip_san,
        defects=gateway.defects,
        send=gateway.send,
        allow_cn_loop=True,
        days=gateway.days,
        device_ca_days=gateway.device_ca_days,
        seed=seed,
    )


def quickstart_for(scenario: Scenario, seed: int | None) -> ChainPlan:
    """The chain that the daemon makes by itself when none is configured."""
    gateway = scenario.gateway
    return ChainPlan(hostname=gateway.hostname, generation="quickstart", key=gateway.key, allow_cn_loop=True, seed=seed)


def chains_for(scenario: Scenario, seed: int | None) -> tuple[Chain, Chain]:
    """The configured chain, whose root leaves trust, and the one that is served at first."""
    configured = plan_for(scenario, seed).build()
    if scenario.gateway.serves == "configured":
        return configured, configured
    return configured, quickstart_for(scenario, seed).build()


class Stage:
    """The gateway and the leaves of one scenario; an async context manager."""

    #: how long to wait for the gateway's side of what the file says nothing about: it is shown, not judged
    patience = 0.5

    def __init__(self, loaded: Loaded, *, seed: int, folder: Path) -> None:
        self.scenario = loaded.scenario
        self.timeline = Timeline()
        self.record = Record(self.timeline)
        self.clock = MovableClock()
        self.notes: list[StackNote] = []
        self.last: Actor | None = None
        self._base = loaded.path.parent
        self._seed = seed
        self._folder = folder
        self._sent: dict[str, list[str]] = {}

    async def __aenter__(self) -> Self:
        self.configured, chain = await asyncio.to_thread(chains_for, self.scenario, self._seed)
        setting = self.scenario.gateway
        gateway = Gateway(
            chain=chain,
            tls=setting.tls or None,
            clock=self.clock,
            settings=Settings(renewal=setting.renewal),
            log=self.record.logger,
        )
        gateway.events.subscribe(self.record.see)
        async with AsyncExitStack() as until_ready:
            self.gateway = await until_ready.enter_async_context(gateway)
            self._arrivals = Arrivals(gateway.upstream.inbox)
            self.timeline.add("gateway", served(chain), left_out(chain))
            self.others = other_authority(self.configured)
            self._cast = casting(
                self.scenario,
                gateway,
                self._seed,
                self._folder,
                self._base,
                chain=self.configured,
                others=self.others,
                now=lambda: time.time() + self.clock.passed(),
            )
            self._exit = until_ready.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for actor in self._cast.values():
            await asyncio.to_thread(actor.leave)
        await self._exit.aclose()

    @property
    def hub_time(self) -> datetime:
        """What time it is on the gateway's clock."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    async def quickstart(self) -> Chain:
        """What the daemon makes by itself, at this time on the gateway's clock."""
        made = await asyncio.to_thread(quickstart_for(self.scenario, self._seed).build)
        return made.shifted(self.clock.now() - time.time())

    def age_leaves(self) -> None:
        """Time has passed: date what leaves trust as their TLS stacks have to see it. Their own files stay."""
        aged = self.configured.shifted(-self.clock.passed())
        for actor in self._cast.values():
            write_trust(actor, aged)

    def actor(self, leaf: str) -> Actor:
        """The leaf called `leaf`."""
        return self._cast[leaf]

    @property
    def actors(self) -> tuple[Actor, ...]:
        """All leaves."""
        return tuple(self._cast.values())

    async def connect(self, leaf: str, timeout: float) -> Attempt:  # noqa: ASYNC109 - a limit of ours
        """Let the leaf connect, and note what came of it."""
        self.last = self._cast[leaf]
        attempt = await asyncio.to_thread(self.last.connect, timeout)
        self.timeline.add(leaf, attempt.describe(), self.last.remark)
        return attempt

    async def disconnect(self, leaf: str) -> None:
        """Let the leaf say goodbye."""
        await asyncio.to_thread(self._cast[leaf].leave)
        self.timeline.add(leaf, "disconnected")

    async def publish(self, leaf: str, bodies: list[Any], properties: dict[str, str], timeout: float) -> Acknowledged:  # noqa: ASYNC109
        """Let the leaf send each of `bodies`; returns how many were acknowledged."""
        ids = self._sent.setdefault(leaf, [])
        count, trouble = 0, ""
        for body in bodies:
            ids.append(f"{leaf}-{self._seed}-{len(ids) + 1}")
            trouble = await asyncio.to_thread(self._cast[leaf].send, body, properties, ids[-1], timeout)
            if trouble:
                break
            count += 1
        self.timeline.add(leaf, f"published {len(bodies)}, {count} acknowledged", trouble)
        return Acknowledged(count, trouble)

    async def judge_stack(self, leaf: str, stack: str, verdict: Verdict, timeout: float) -> None:  # noqa: ASYNC109
        """Play the attempt with another TLS stack when it is at hand, else say what was measured."""
        since = len(self.record.events)
        note = await asyncio.to_thread(probe, self._cast[leaf], stack, verdict, timeout)
        if note is None:
            self.notes.append(measured(stack, verdict))
            return
        # A bare stack leaves after TLS, so that the gateway notices in any case: its row belongs before the next one.
        await self.record.refusal(since, self.patience)
        self.notes.append(note)
        self.timeline.add(stack, note.got, "modelled" if note.source == "modelled" else "")
        if not note.as_expected:
            raise NotAsExpected(f"{stack} {verdict.describe()}", note.got)

    async def expect_connected(self, leaf: str, timeout: float, *, connected: bool = True) -> None:  # noqa: ASYNC109
        """The gateway has the leaf connected (or not) now, or soon has."""
        name = self._cast[leaf].client_id

        def find() -> bool | None:
            changes = [event for event in self.record.events if isinstance(event, ClientConnected | ClientDisconnected)]
            last = next((event for event in reversed(changes) if event.client_id == name), None)
            return True if isinstance(last, ClientConnected) is connected else None

        if not await self.record.wait(find, timeout):
            raise NotAsExpected(f"{leaf} {'' if connected else 'dis'}connected", "it is not" if connected else "it is")

    async def expect_line(self, text: str, timeout: float) -> None:  # noqa: ASYNC109
        """The gateway has logged, or soon logs, a line with `text`."""

        def find() -> str | None:
            return next((line for line in self.record.lines if text.lower() in line.lower()), None)

        line = await self.record.wait(find, timeout)
        if line is None:
            last = self.record.lines[-1] if self.record.lines else "nothing"
            raise NotAsExpected(f"the gateway to log {text!r}", f"it did not; its last line is {last!r}")
        self.timeline.add("gateway", f"logged: {line}")

    async def expect_arrived(self, expected: Arrived, timeout: float) -> None:  # noqa: ASYNC109
        """The upstream has, or soon has, what is expected."""
        sender = self._cast[expected.from_].identity if expected.from_ else None
        found = await self._arrivals.wait(expected.count, sender, timeout)
        who = f" from {expected.from_}" if expected.from_ else ""
        self.timeline.add("upstream", f"{len(found)} message{'' if len(found) == 1 else 's'}{who}")
        wrong = difference(expected, found, list(self._sent.values()))
        if wrong:
            raise NotAsExpected(expected.describe(), wrong)


def served(chain: Chain) -> str:
    """What goes on the wire, in one line."""
    return "serves " + " ← ".join(common_name(certificate.subject) for certificate in chain.sent)


def left_out(chain: Chain) -> str:
    """The levels that exist and are not sent; the root need not be."""
    sent = set(chain.sent)
    missing = [level.role.value for level in chain.levels[:-1] if level.certificate not in sent]
    return f"{', '.join(missing)} left out" if missing else ""
