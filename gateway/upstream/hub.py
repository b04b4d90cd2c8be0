"""The IoT Hub above the gateway, in this process: registry, twins, cloud-to-device messages, methods, inbox.

Rule: the Edge Hub asks through `gateway.hub.cloud.Cloud`, which this is; what the cloud has to tell goes out through
`Downlink`. Nothing crosses while the link is cut. What cannot be stored does not happen, and to the Edge Hub the cloud
has then not answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gateway.clock import Clock
from gateway.errors import CommandRefusedError, StoreError, TwinRefusedError
from gateway.hub.cloud import Command as ReceivedCommand
from gateway.hub.cloud import TwinState
from gateway.hub.messages import Message
from gateway.hub.methods import MethodCall, MethodResult
from gateway.hub.twin import ARGUMENT_INVALID, TwinError
from gateway.upstream.activity import Activity
from gateway.upstream.arrivals import TWIN_CHANGES, Client, Origins
from gateway.upstream.command import Command
from gateway.upstream.commands import CommandQueues
from gateway.upstream.feed import Feed
from gateway.upstream.identities import Identities
from gateway.upstream.inbox import Inbox
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper
from gateway.upstream.link import Done, Link, LinkState
from gateway.upstream.management import KINDS, Management
from gateway.upstream.notifications import Notifications
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins

T = TypeVar("T")


class Downlink(Protocol):
    """The Edge Hub as the cloud sees it."""

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed."""

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""

    def invoke(self, call: MethodCall, answer: Callable[[MethodResult], None]) -> None:
        """Call a direct method."""

    def is_connected(self, client_id: str) -> bool:
        """Whether a device or module is connected."""

    def online(self) -> None:
        """The cloud can be reached again."""


class IotHub:
    """What a back end sees: `registry`, `twins`, `commands` (cloud-to-device) and what arrived, in `inbox` and `feed`.

    `management` is for many devices at once: queries, configurations, jobs. `link` is the line to the gateway, with
    everything that can be wrong with it; `notify` names the sources of messages that IoT Hub makes itself; `keeper` has
    what outlives the hub.
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
    ) -> None:
        self._registry = registry
        self.keeper = keeper or ForgetfulKeeper()
        self._log = log or logging.getLogger(__name__)
        self._failure = ""
        self.link = link
        link.attach(self._link_changed)
        self.identities = Identities(registry, clock.now)
        self.inbox = inbox
        inbox.origins_of = self._origins_of
        self.feed = Feed(inbox)
        self.twins = Twins(clock.now, self.keeper)
        self.activity = Activity(clock.now, self.keeper)
        self._commands = CommandQueues(clock, keeper=self.keeper)
        self._commands_loaded = False
        self.twins.subscribe(self._desired_changed)
        self._commands.subscribe(self._command_available)
        self.notifications = Notifications(
            lambda source, message: inbox.receive([message], _not_again, source),
            self.twins,
            hub_name=lambda: self.registry.hub_hostname.partition(".")[0],
            now=clock.now,
            wanted=notify,
        )
        self.twins.watch(self.notifications.twin_changed)
        self._downlink: Downlink | None = None
        self.management = Management(
            registry,
            self.twins,
            clock.now,
            invoke=self.call,
            connected=self.is_connected,
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
        """Whether the gateway can reach the cloud; may be set at any time."""
        return self.link.reachable

    @online.setter
    def online(self, reachable: bool) -> None:
        if reachable is not self.link.reachable:
            self.link.switch(LinkState.UP if reachable else LinkState.REFUSED)

    def _origins_of(self, clients: Iterable[Client]) -> Origins:
        get = self.registry.get
        return {client: device for client in clients if (device := get(*client)) is not None}

    def _link_changed(self, was: bool, reachable: bool) -> None:
        self.identities.reach(reachable)
        if reachable and not was and self._downlink is not None:
            self._downlink.online()

    def attach(self, downlink: Downlink | None) -> None:
        """Connect an Edge Hub, or take it away (None)."""
        self._downlink = downlink

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
        self.call(call, settle(arrived))
        return await arrived

    def call(self, call: MethodCall, answer: Callable[[MethodResult], None]) -> None:
        """Call a direct method; `answer` gets what becomes of it, at once or later."""
        if self._downlink is None or not self.online:
            answer(MethodResult(None, b"", 404, f"Client {call.client_id} not found"))
        else:
            self._downlink.invoke(call, answer)

    def is_connected(self, client_id: str) -> bool:
        """Whether IoT Hub knows a device or module to be connected, through a gateway that is in touch with it."""
        return self._downlink is not None and self.online and self._downlink.is_connected(client_id)

    def tick(self) -> None:
        """Let time take effect on messages that wait, and on those under way."""
        self.link.tick()
        if self._try(self._tick_commands) & self._try(self.activity.tick) & self._try(self.management.tick):
            self._failure = ""

    def _tick_commands(self) -> None:
        self.commands.tick()

    def _try(self, step: Callable[[], None]) -> bool:
        """Take a step that may have to store something; tells whether it could."""
        try:
            step()
        except StoreError as wrong:
            self._tell(wrong)
            return False
        return True

    def _tell(self, wrong: StoreError) -> None:
        """Log what could not be stored; not for each of a thousand messages."""
        if wrong.message != self._failure:
            self._failure = wrong.message
            self._log.error("%s; %s", wrong.message, wrong.hint)

    # -- gateway.hub.cloud.Cloud --------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Carry messages over the link; `done` gets those that have to be sent again."""

        def told(again: Sequence[Message]) -> None:
            if len(again) < len(messages):
                senders = {(message.device_id, message.module_id) for message in messages}
                self.activity.seen(device if module is None else f"{device}/{module}" for device, module in senders)
            done(again)

        self.link.send(messages, told)

    def get_twin(self, client_id: str, answer: Callable[[TwinState | None], None]) -> None:
        """Read a twin; see Cloud."""
        answer(self._state(client_id) if self.online else None)

    def _state(self, client_id: str) -> TwinState | None:
        try:
            twin, body = self.twins.get(client_id), self.twins.wire(client_id)
            return TwinState(twin.desired, twin.desired_version, twin.reported, twin.reported_version, body)
        except StoreError as wrong:
            self._tell(wrong)
            return None

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected; see Cloud."""
        if self.online:
            self.management.models.learn(client_id, model_id)

    def report(
        self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError | None], None]
    ) -> None:
        """Change reported properties; see Cloud."""
        result: int | TwinError | None = None
        if self.online:
            try:
                result = self.twins.update_reported(client_id, patch)
            except TwinRefusedError as refused:  # the whole twin would become too large
                result = TwinError(refused.status, ARGUMENT_INVALID, refused.message)
            except StoreError as wrong:
                self._tell(wrong)
        answer(result)

    def receive(self, client_id: str) -> Command | None:
        """Take the next message; see Cloud."""
        try:
            return self.commands.receive(client_id) if self.online else None
        except StoreError as wrong:
            self._tell(wrong)
            return None

    def complete(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(self.commands.complete, command)

    def reject(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(self.commands.reject, command)

    def abandon(self, command: ReceivedCommand) -> None:
        """Give back; see Cloud."""
        self._settle(self.commands.abandon, command)

    def _settle(self, how: Callable[[str], None], command: ReceivedCommand) -> None:
        try:
            how(command.lock_token)
        except CommandRefusedError:
            return  # its lock has run out: the message has gone back to the queue
        except StoreError as wrong:  # it goes back to the queue when its lock has run out
            self._tell(wrong)

    # -- what the cloud tells -----------------------------------------------------------------------------------------

    def _desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        if self._downlink is not None and self.online:
            self._downlink.desired_changed(client_id, patch, version)

    def _command_available(self, device_id: str) -> None:
        if self._downlink is not None and self.online:
            self._downlink.command_available(device_id)


def _not_again(lost: Sequence[Message]) -> None:
    """IoT Hub's own messages are not sent again; that they are lost was logged."""


def settle(future: asyncio.Future[T]) -> Callable[[T], None]:
    """A callback that gives a future its result, unless whoever waited for it has left."""

    def done(result: T) -> None:
        if not future.done():
            future.set_result(result)

    return done
