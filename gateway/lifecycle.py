"""The life of Edge Hub's process: it exits for a new certificate and is started again, or not.

Rules: what to do when is decided in gateway.hub.renewal; here it is done. One restart at a time; whatever is asked for
meanwhile waits, and a timer that rings meanwhile has nothing left to do. While the process is down its ports stay ours.
Sources: CertificateRenewal.cs and Program.cs (Edge Hub), RestartPolicyManager.cs (Edge Agent), edge_ca.rs (the daemon)
of Azure/iotedge.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

from certs import CertsError, Chain, Role
from certs.renewal import made_by_daemon, renew_device_ca, renew_server
from gateway.clock import Clock
from gateway.config import Settings
from gateway.errors import GatewayError
from gateway.events import Events, HubExited, HubStarted
from gateway.hub import renewal
from gateway.timer import Timer

#: what becomes of the certificates while Edge Hub is down, at that time
Change = Callable[[Chain, datetime], Chain]

RENEWAL = "Restarting process to perform server certificate renewal."


class Process(Protocol):
    """Edge Hub's process, as its life needs it."""

    chain: Chain

    async def boot(self) -> None:
        """Start it with the chain. Raises GatewayError; then it is down."""

    async def exit(self) -> None:
        """End it, and keep its ports."""


class Lifecycle:
    """Restarts a process when its certificate wants it, as Settings.renewal says, and whenever it is asked to."""

    def __init__(self, process: Process, clock: Clock, settings: Settings, events: Events, log: logging.Logger) -> None:
        self.down = False
        self._begun = False
        self._process = process
        self._clock = clock
        self._settings = settings
        self._events = events
        self._log = log
        self._server = Timer(clock, self._server_due)
        self._ca = Timer(clock, self._ca_due)
        self._rest = Timer(clock, self._rested)
        self._restarts = 0  # in a row, each because the certificate had no time left
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """The process has been started."""
        loop = asyncio.get_running_loop()

        def time_moved() -> None:
            loop.call_soon_threadsafe(self._time_moved)

        self._unsubscribe = self._clock.subscribe(time_moved)
        self._begun = True
        self._restarts = 0
        self.chain_changed()

    async def end(self) -> None:
        """Nothing happens by itself any more."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        for timer in (self._server, self._ca, self._rest):
            timer.cancel()
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        self.down = self._begun = False

    def chain_changed(self) -> None:
        """The running process has another chain from now on."""
        self._schedule_ca()
        if not self._schedule():
            self._start(self._exit_and_rest())

    async def restart(self, change: Change = renew_server) -> None:
        """Let the process exit and start again, or start if it is down. Raises GatewayError or CertsError."""
        await self.settled()
        if not self._begun:
            raise GatewayError("the gateway is not running, so it cannot restart", "start it first")
        task = self._task = asyncio.create_task(self._restart("asked for", change))
        await asyncio.wait({task})
        if task.cancelled():
            raise GatewayError("the gateway was stopped before Edge Hub had started again")
        task.result()

    async def renew_ca(self) -> None:
        """Let the daemon renew its CA now, ahead of time. Raises GatewayError for one that is not the daemon's."""
        if not made_by_daemon(self._process.chain):
            raise GatewayError(
                "the daemon renews no device CA that was configured as a file",
                "replace it, as its owner would, or use generation quickstart",
            )
        await self.restart(self._renewed_ca)

    async def settled(self) -> None:
        """Wait until everything that is due by now has been done."""
        await asyncio.sleep(0)  # whoever has just moved the clock has put the looking at timers before this
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    # -- when ---------------------------------------------------------------------------------------------------------

    def _schedule(self) -> bool:
        """Set the timer for the server certificate, and say so; False when the process has to exit at once."""
        self._server.cancel()
        now = self._clock.now()
        left = self._process.chain.server.template.not_after.timestamp() - now
        wait = renewal.restart_in(left)
        if wait is not None:
            moment = datetime.fromtimestamp(now + wait, UTC).isoformat()
            self._log.info("Scheduling server certificate renewal for %s.", moment)
            self._server.set(wait)
            self._restarts = 0
            return True
        loops = self._settings.renewal == "loop"
        then = "" if loops else " Not scheduling renewal."
        self._log.warning('Server certificate is expired ("%s").%s', renewal.span(left), then)
        return not loops

    def _schedule_ca(self) -> None:
        self._ca.cancel()
        chain = self._process.chain
        if made_by_daemon(chain):
            made = chain.level(Role.DEVICE_CA).template
            life = (made.not_before.timestamp(), made.not_after.timestamp())
            self._ca.set(renewal.ca_renewal_in(*life, self._clock.now()))

    def _time_moved(self) -> None:
        for timer in (self._ca, self._server, self._rest):
            timer.check()

    def _server_due(self) -> None:
        self._log.info(RENEWAL)
        if self._settings.renewal == "down":
            self._start(self._exit("renewal"))
        elif self._settings.renewal != "missed":
            self._start(self._restart("renewal", renew_server))

    def _ca_due(self) -> None:
        self._start(self._restart("renewal of the Edge CA", self._renewed_ca))

    def _rested(self) -> None:
        self._start(self._come_up(renew_server))

    # -- what ---------------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None and not self._task.done():
            work.close()  # it ends with timers set anew
            return
        self._task = asyncio.get_running_loop().create_task(self._told(work))

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (GatewayError, CertsError) as wrong:
            self._log.error("Edge Hub stays down: %s%s", wrong.message, f"; {wrong.hint}" if wrong.hint else "")

    async def _restart(self, reason: str, change: Change) -> None:
        self._rest.cancel()
        if not self.down:
            await self._exit(reason)
        await self._come_up(change)

    async def _exit(self, reason: str) -> None:
        self._server.cancel()
        self._log.info("Stopping the protocol heads...")
        self.down = True
        await self._process.exit()
        self._log.info("Shutdown complete.")
        self._events.emit(HubExited(self._clock.now(), "", reason))

    async def _come_up(self, change: Change) -> None:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        self._process.chain = await asyncio.to_thread(change, self._process.chain, now)
        await self._process.boot()
        self.down = False
        expires = self._process.chain.server.template.not_after.timestamp()
        self._events.emit(HubStarted(self._clock.now(), "", expires))
        self._schedule_ca()
        if not self._schedule():
            await self._exit_and_rest()

    async def _exit_and_rest(self) -> None:
        self._log.info(RENEWAL)
        await self._exit("no time left on its certificate")
        pause = renewal.cool_off(self._restarts)
        self._restarts += 1
        self._log.info("Module 'edgeHub' scheduled to restart after %g seconds", pause)
        self._rest.set(pause)

    def _renewed_ca(self, chain: Chain, now: datetime) -> Chain:
        self._log.info("Requesting new Edge CA certificate")
        renewed = renew_device_ca(chain, now)
        self._log.info("Edge CA was renewed")
        return renewed
