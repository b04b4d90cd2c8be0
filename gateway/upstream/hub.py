"""The IoT Hub above the gateway, in this process: registry, twins, cloud-to-device messages, methods, inbox.

Rule: the Edge Hub asks through `gateway.hub.cloud.Cloud`, which this is; what the cloud has to tell goes out through
`Downlink`. Both ways go over the link, whose state decides whether, and when, something crosses.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from gateway.clock import Clock
from gateway.errors import CommandRefusedError, GatewayError, TwinRefusedError
from gateway.hub.cloud import CloudError, Failure, TwinState
from gateway.hub.cloud import Command as ReceivedCommand
from gateway.hub.messages import Message
from gateway.hub.methods import MethodCall, MethodResult
from gateway.hub.twin import ARGUMENT_INVALID, TwinError
from gateway.upstream.arrivals import TWIN_CHANGES, Client, Origins
from gateway.upstream.command import Command
from gateway.upstream.commands import CommandQueues
from gateway.upstream.feed import Feed
from gateway.upstream.identities import Identities
from gateway.upstream.inbox import Inbox
from gateway.upstream.link import Link, LinkState, Patience
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


class IotHub:
    """What a back end sees: `registry`, `twins`, `commands` (cloud-to-device) and what arrived, in `inbox` and `feed`.

    `link` is the line to the gateway, with everything that can be wrong with it; `notify` names the sources of messages
    that IoT Hub makes itself. `patience` is how long the gateway waits for an answer that does not come
    (CloudOperationTimeoutSecs).
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        inbox: Inbox,
        clock: Clock,
        link: Link,
        notify: Collection[str] = (TWIN_CHANGES,),
        *,
        patience: float = 20.0,
    ) -> None:
        self._registry = registry
        self.link = link
        self._clock = clock
        self._patience = Patience(0.0, patience)
        self._feedback = Patience(0.0, patience, throttles=False)
        self._waiting: list[asyncio.Future[None]] = []  # calls for devices that have no connection
        self._fetched: set[str] = set()  # devices whose next message has crossed a slow link
        self._fetching: set[str] = set()
        self.identities = Identities(registry, clock.now, link, self._patience)
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
        if self.link.state is LinkState.QUOTA:
            return MethodResult(None, b"", 403, CloudError(Failure.QUOTA).message)
        until = self._clock.monotonic() + call.connect_timeout
        while self._downlink is None or not self.link.admits(call.client_id):
            if self._clock.monotonic() >= until:
                return MethodResult(None, b"", 404, f"Client {call.client_id} not found")
            await self._next_tick()
        left = max(0.0, until - self._clock.monotonic())
        return await self._invoke(self._downlink, replace(call, connect_timeout=left))

    async def _invoke(self, downlink: Downlink, call: MethodCall) -> MethodResult:
        arrived: asyncio.Future[MethodResult] = asyncio.get_running_loop().create_future()
        lost = MethodResult(None, b"", 504, f"Timed out waiting for a response to method {call.name}")
        until = self._clock.monotonic() + call.connect_timeout + call.response_timeout

        def answered(result: MethodResult) -> None:
            left = max(0.0, until - self._clock.monotonic())
            way_back = Patience(left, left, throttles=False)  # with a latency, it stands for both ways
            self.link.ask(None, lambda: settle(arrived)(result), lambda _: settle(arrived)(lost), way_back)

        downlink.invoke(call, answered)
        return await arrived

    async def _next_tick(self) -> None:
        ticked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(ticked)
        await ticked

    def tick(self) -> None:
        """Let time take effect on messages that wait, and on what is under way."""
        self.commands.tick()
        self.link.tick()
        waiting, self._waiting = self._waiting, []
        for ticked in waiting:
            settle(ticked)(None)

    # -- gateway.hub.cloud.Cloud --------------------------------------------------------------------------------------

    def get_twin(self, client_id: str, answer: Callable[[TwinState | CloudError], None]) -> None:
        """Read a twin; see Cloud."""
        self.link.ask(
            client_id, lambda: answer(self._state(client_id)), lambda why: answer(CloudError(why)), self._patience
        )

    def _state(self, client_id: str) -> TwinState:
        twin = self.twins.get(client_id)
        body = self.twins.wire(client_id)
        return TwinState(twin.desired, twin.desired_version, twin.reported, twin.reported_version, body)

    def report(self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError], None]) -> None:
        """Change reported properties; see Cloud."""
        self.link.ask(
            client_id,
            lambda: answer(self._report(client_id, patch)),
            lambda why: answer(CloudError(why)),
            self._patience,
        )

    def _report(self, client_id: str, patch: Mapping[str, Any]) -> int | TwinError:
        if not patch:  # how Edge Hub finds out whether IoT Hub is there
            return self.twins.get(client_id).reported_version
        try:
            return self.twins.update_reported(client_id, patch)
        except TwinRefusedError as refused:  # the whole twin would become too large
            return TwinError(refused.status, ARGUMENT_INVALID, refused.message)

    def receive(self, client_id: str) -> Command | None:
        """Take the next message; see Cloud."""
        if not self.link.admits(client_id):
            return None
        if self.link.state is LinkState.SLOW and client_id not in self._fetched:
            self._fetch(client_id)
            return None
        self._fetched.discard(client_id)
        return self.commands.receive(client_id)

    def _fetch(self, device_id: str) -> None:
        """Let a message cross a link that takes its time."""
        if device_id in self._fetching or not self.commands.depth(device_id):
            return
        self._fetching.add(device_id)

        def crossed() -> None:
            self._fetching.discard(device_id)
            self._fetched.add(device_id)
            self._command_available(device_id)

        self.link.ask(device_id, crossed, lambda _: self._fetching.discard(device_id), self._feedback)

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
        def arrived() -> None:
            with suppress(CommandRefusedError):  # its lock has run out: the message has gone back to the queue
                how(command.lock_token)

        # What does not arrive leaves the message locked, until its lock has run out.
        self.link.ask(None, arrived, lambda _: None, self._feedback)

    # -- what the cloud tells -----------------------------------------------------------------------------------------

    def _desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        downlink = self._downlink
        if downlink is None or not self.link.admits(client_id):
            return  # nobody tells it again: Edge Hub reads the twin when it knows that the link is back
        if self.link.state is LinkState.SLOW:
            self.link.ask(
                client_id, lambda: downlink.desired_changed(client_id, patch, version), lambda _: None, self._feedback
            )
        else:
            downlink.desired_changed(client_id, patch, version)

    def _command_available(self, device_id: str) -> None:
        if self._downlink is not None and self.link.admits(device_id):
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
