"""The IoT Hub above the gateway, in this process: registry, twins, cloud-to-device messages, methods, inbox.

Rule: this is the back end's side, which no state of the link touches; what the Edge Hub says and hears of it goes
through `uplink`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.hub.methods import MethodCall, MethodResult
from gateway.upstream.activity import Activity
from gateway.upstream.arrivals import TWIN_CHANGES, Client, Origins
from gateway.upstream.commands import CommandQueues
from gateway.upstream.feed import Feed
from gateway.upstream.identities import Identities
from gateway.upstream.inbox import Inbox
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper
from gateway.upstream.link import Link, LinkState, Patience
from gateway.upstream.management import KINDS, Management
from gateway.upstream.notifications import Notifications
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins
from gateway.upstream.uplink import Uplink

T = TypeVar("T")


class IotHub:
    """What a back end sees: `registry`, `twins`, `commands` (cloud-to-device) and what arrived, in `inbox` and `feed`.

    `management` is for many devices at once: queries, configurations, jobs. `link` is the line to the gateway, with
    everything that can be wrong with it, `uplink` what goes over it; `notify` names the sources of messages that IoT
    Hub makes itself; `keeper` has what outlives the hub; `patience` is how long the gateway waits for an answer.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        inbox: Inbox,
        clock: Clock,
        link: Link,
        notify: Collection[str] = (TWIN_CHANGES,),
        *,
        keeper: Keeper | None = None,
        log: logging.Logger | None = None,
        patience: float = 20.0,
    ) -> None:
        self._registry = registry
        self.keeper = keeper or ForgetfulKeeper()
        self._log = log or logging.getLogger(__name__)
        self._failure = ""
        self.link = link
        self.uplink = Uplink(self, link, clock, patience)
        self.identities = Identities(registry, clock.now, link, Patience(0.0, patience))
        self.inbox = inbox
        inbox.origins_of = self._origins_of
        self.feed = Feed(inbox)
        self.twins = Twins(clock.now, self.keeper)
        self.activity = Activity(clock.now, self.keeper)
        self._commands = CommandQueues(clock, keeper=self.keeper)
        self._commands_loaded = False
        self.twins.subscribe(self.uplink.desired_changed)
        self._commands.subscribe(self.uplink.command_available)
        self.notifications = Notifications(
            lambda source, message: inbox.receive([message], _not_again, source),
            self.twins,
            hub_name=lambda: self.registry.hub_hostname.partition(".")[0],
            now=clock.now,
            wanted=notify,
        )
        self.twins.watch(self.notifications.twin_changed)
        self.management = Management(
            registry,
            self.twins,
            clock.now,
            invoke=self.uplink.call,
            connected=self.uplink.is_connected,
            waiting=self._waiting,
            active=lambda client_id: self.activity.times(client_id).last_active,
            keep=self.keeper.keep,
        )

    @property
    def registry(self) -> Registry:
        """Devices and modules that IoT Hub knows."""
        return self._registry()

    @property
    def commands(self) -> CommandQueues:
        """Cloud-to-device messages. Raises StoreError when those that are kept cannot be read."""
        if not self._commands_loaded:
            self._load_commands()
        return self._commands

    def _waiting(self, device_id: str) -> int:
        return self.commands.depth(device_id)

    def _load_commands(self) -> None:
        self._commands.load()
        self._commands_loaded = True

    def open(self) -> bool:
        """Use what is kept, alone, until `close`; tells whether it may have been changed meanwhile. StoreError."""
        changed = self.keeper.hold()
        try:
            if changed:
                self.twins.reload()
                self.activity.reload()
            if changed or not self._commands_loaded:
                self._load_commands()
                self.management.load({kind: self.keeper.load(kind) for kind in KINDS})
        except StoreError:
            self.close()
            raise
        return changed

    def close(self) -> None:
        """Let others use what is kept."""
        self._try(self.activity.flush)
        self._try(self.management.flush)
        self.keeper.release()

    @property
    def online(self) -> bool:
        """Whether the gateway can reach the cloud; may be set at any time, and the gateway knows it at once.

        `link.switch` has all states, and leaves it to the gateway to find out.
        """
        return self.link.reachable

    @online.setter
    def online(self, reachable: bool) -> None:
        if reachable is not self.link.reachable:
            self.link.switch(LinkState.UP if reachable else LinkState.REFUSED, noticed=True)

    def _origins_of(self, clients: Iterable[Client]) -> Origins:
        get = self.registry.get
        return {client: device for client in clients if (device := get(*client)) is not None}

    # -- what a back end does -----------------------------------------------------------------------------------------

    def remove(self, device_id: str, module_id: str | None = None, *, etag: str | None = None) -> None:
        """Delete a device with its modules, or one module, and everything that is kept for it.

        Only if `etag` (as in If-Match) is still its own. Raises RegistryError; StoreError, then nothing has changed.
        """
        for client_id in self.registry.remove(device_id, module_id, etag=etag, along=self._all_of):
            self.twins.forget(client_id)
            self.activity.forget(client_id)
            self.management.forget(client_id)
        if module_id is None:
            self.commands.forget(device_id)

    def _all_of(self, client_ids: Sequence[str]) -> list[Change]:
        changes: list[Change] = []
        for client_id in client_ids:
            self.twins.get(client_id)  # whoever is told of the deletion may still look at it
            changes += self.twins.removal(client_id) + self.activity.removal(client_id)
            changes += self.management.removal(client_id)
            if "/" not in client_id:
                changes += self.commands.removal(client_id)
        return changes

    async def invoke(self, call: MethodCall) -> MethodResult:
        """Call a direct method and wait for what becomes of it."""
        arrived: asyncio.Future[MethodResult] = asyncio.get_running_loop().create_future()
        self.uplink.call(call, settle(arrived))
        return await arrived

    def learn_model(self, client_id: str, model_id: str | None) -> None:
        """A client has connected with the id of its model (IoT Plug and Play), or without one."""
        self.management.models.learn(client_id, model_id)

    def tick(self) -> None:
        """Let time take effect on messages that wait, and on those under way."""
        self.uplink.tick()
        if self._try(self._tick_commands) & self._try(self.activity.tick) & self._try(self.management.tick):
            self._failure = ""

    def _tick_commands(self) -> None:
        self.commands.tick()

    def _try(self, step: Callable[[], None]) -> bool:
        """Take a step that may have to store something; tells whether it could."""
        try:
            step()
        except StoreError as wrong:
            self.tell(wrong)
            return False
        return True

    def tell(self, wrong: StoreError) -> None:
        """Log what could not be stored; not for each of a thousand messages."""
        if wrong.message != self._failure:
            self._failure = wrong.message
            self._log.error("%s; %s", wrong.message, wrong.hint)


def _not_again(lost: Sequence[Message]) -> None:
    """IoT Hub's own messages are not sent again; that they are lost was logged."""


def settle(future: asyncio.Future[T]) -> Callable[[T], None]:
    """A callback that gives a future its result, unless whoever waited for it has left."""

    def done(result: T) -> None:
        if not future.done():
            future.set_result(result)

    return done
