"""The IoT Hub above the gateway, in this process: registry, twins, cloud-to-device messages, methods, inbox.

Rule: the Edge Hub asks through `gateway.hub.cloud.Cloud`, which this is; what the cloud has to tell goes out through
`Downlink`. Nothing crosses while the link is cut.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from gateway.clock import Clock
from gateway.errors import CommandRefusedError, GatewayError, TwinRefusedError
from gateway.hub.cloud import Command as ReceivedCommand
from gateway.hub.cloud import TwinState
from gateway.hub.messages import Message
from gateway.hub.methods import MethodCall, MethodResult
from gateway.hub.twin import ARGUMENT_INVALID, TwinError
from gateway.upstream.arrivals import TWIN_CHANGES, Client, Origins
from gateway.upstream.command import Command
from gateway.upstream.commands import CommandQueues
from gateway.upstream.feed import Feed
from gateway.upstream.identities import Identities
from gateway.upstream.inbox import Inbox
from gateway.upstream.link import Link, LinkState
from gateway.upstream.notifications import Notifications
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins

T = TypeVar("T")
_METHOD_NAME = re.compile(r"[^/+#\0]{1,100}\Z")
_MOST_PAYLOAD = 128 * 1_024


class Downlink(Protocol):
    """The Edge Hub as the cloud sees it."""

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed."""

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""

    def invoke(self, call: MethodCall, answer: Callable[[MethodResult], None]) -> None:
        """Call a direct method."""

    def online(self) -> None:
        """The cloud can be reached again."""


class IotHub:
    """What a back end sees: `registry`, `twins`, `commands` (cloud-to-device) and what arrived, in `inbox` and `feed`.

    `link` is the line to the gateway, with everything that can be wrong with it; `notify` names the sources of messages
    that IoT Hub makes itself.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        inbox: Inbox,
        clock: Clock,
        link: Link,
        notify: Collection[str] = (TWIN_CHANGES,),
    ) -> None:
        self._registry = registry
        self.link = link
        link.attach(self._link_changed)
        self.identities = Identities(registry, clock.now)
        self.inbox = inbox
        inbox.origins_of = self._origins_of
        self.feed = Feed(inbox)
        self.twins = Twins(clock.now)
        self.commands = CommandQueues(clock)
        self.twins.subscribe(self._desired_changed)
        self.commands.subscribe(self._command_available)
        self.notifications = Notifications(
            lambda source, message: inbox.receive([message], _not_again, source),
            self.twins,
            hub_name=lambda: self.registry.hub_hostname.partition(".")[0],
            now=clock.now,
            wanted=notify,
        )
        self.twins.watch(self.notifications.twin_changed)
        self._downlink: Downlink | None = None

    @property
    def registry(self) -> Registry:
        """Devices and modules that IoT Hub knows."""
        return self._registry()

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

    def remove(self, device_id: str, module_id: str | None = None) -> None:
        """Delete a device with its modules, or one module, and everything that is kept for it. Raises RegistryError."""
        for client_id in self.registry.remove(device_id, module_id):
            self.twins.remove(client_id)
        if module_id is None:
            self.commands.remove(device_id)

    async def invoke(self, call: MethodCall) -> MethodResult:
        """Call a direct method and wait for what becomes of it."""
        if self._downlink is None or not self.online:
            return MethodResult(None, b"", 404, f"Client {call.client_id} not found")
        arrived: asyncio.Future[MethodResult] = asyncio.get_running_loop().create_future()
        self._downlink.invoke(call, settle(arrived))
        return await arrived

    def tick(self) -> None:
        """Let time take effect on messages that wait, and on those under way."""
        self.commands.tick()
        self.link.tick()

    # -- gateway.hub.cloud.Cloud --------------------------------------------------------------------------------------

    def get_twin(self, client_id: str, answer: Callable[[TwinState | None], None]) -> None:
        """Read a twin; see Cloud."""
        answer(self._state(client_id) if self.online else None)

    def _state(self, client_id: str) -> TwinState:
        twin = self.twins.get(client_id)
        body = self.twins.wire(client_id)
        return TwinState(twin.desired, twin.desired_version, twin.reported, twin.reported_version, body)

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
        answer(result)

    def receive(self, client_id: str) -> Command | None:
        """Take the next message; see Cloud."""
        return self.commands.receive(client_id) if self.online else None

    def complete(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(self.commands.complete, command)

    def reject(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(self.commands.reject, command)

    def abandon(self, command: ReceivedCommand) -> None:
        """Give back; see Cloud."""
        self._settle(self.commands.abandon, command)

    @staticmethod
    def _settle(how: Callable[[str], None], command: ReceivedCommand) -> None:
        with suppress(CommandRefusedError):  # its lock has run out: the message has gone back to the queue
            how(command.lock_token)

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


def method_call(client_id: str, name: str, payload: Any, response_timeout: float, connect_timeout: float) -> MethodCall:
    """A call within IoT Hub's limits. Raises GatewayError for what IoT Hub would not send.

    Source: IoT Hub documentation, "Understand and invoke direct methods from IoT Hub".
    """
    if not _METHOD_NAME.match(name):
        raise GatewayError("a method's name has 1 to 100 characters, none of them / + or #")
    try:
        body = json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as wrong:
        raise GatewayError(f"the payload of a method is no JSON: {wrong}") from None
    if len(body) > _MOST_PAYLOAD:
        raise GatewayError(f"the payload of a method has {len(body)} bytes; {_MOST_PAYLOAD} is the most")
    if not 5 <= response_timeout <= 300:
        raise GatewayError(f"a response timeout of {response_timeout:g} seconds", "from 5 to 300 seconds")
    if not 0 <= connect_timeout <= 300:
        raise GatewayError(f"a connect timeout of {connect_timeout:g} seconds", "from 0 to 300 seconds")
    return MethodCall(client_id, name, body, response_timeout, connect_timeout)
