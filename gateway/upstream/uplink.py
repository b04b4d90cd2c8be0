"""IoT Hub as the Edge Hub has it: what both say to each other, over the link.

Rules: the Edge Hub asks through `gateway.hub.cloud.Cloud`, which this is; what the cloud has to tell goes out through
`Downlink`. Both ways go over the link, whose state decides whether, and when, something crosses. What cannot be stored
does not happen, and to the Edge Hub the cloud has then not answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from gateway.clock import Clock
from gateway.errors import CommandRefusedError, StoreError, TwinRefusedError
from gateway.hub.cloud import CloudError, Failure, TwinState
from gateway.hub.cloud import Command as ReceivedCommand
from gateway.hub.messages import Message
from gateway.hub.methods import MethodCall, MethodResult
from gateway.hub.twin import ARGUMENT_INVALID, TwinError
from gateway.upstream.activity import Activity
from gateway.upstream.command import Command
from gateway.upstream.commands import CommandQueues
from gateway.upstream.link import Done, Link, LinkState, Patience
from gateway.upstream.twins import Twins

Answer = Callable[[MethodResult], None]


class Downlink(Protocol):
    """The Edge Hub as the cloud sees it."""

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed."""

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""

    def invoke(self, call: MethodCall, answer: Answer) -> None:
        """Call a direct method."""

    def is_connected(self, client_id: str) -> bool:
        """Whether a device or module is connected."""


class Hub(Protocol):
    """The part of IoT Hub that speaks with the Edge Hub."""

    twins: Twins
    activity: Activity

    @property
    def commands(self) -> CommandQueues:
        """Cloud-to-device messages. Raises StoreError."""

    def learn_model(self, client_id: str, model_id: str | None) -> None:
        """A client has named its model."""

    def tell(self, wrong: StoreError) -> None:
        """Log what could not be stored."""


class _Waiting(NamedTuple):
    """A call for a device that IoT Hub has no connection to, until `until` of the monotonic clock."""

    until: float
    call: MethodCall
    answer: Answer


class Uplink:
    """Carries what `hub` and an Edge Hub say over `link`.

    `patience` is how long the Edge Hub waits for an answer that does not come (CloudOperationTimeoutSecs).
    """

    def __init__(self, hub: Hub, link: Link, clock: Clock, patience: float) -> None:
        self._hub = hub
        self._link = link
        self._clock = clock
        self._patience = Patience(0.0, patience)
        self._feedback = Patience(0.0, patience, throttles=False)
        self._downlink: Downlink | None = None
        self._waiting: list[_Waiting] = []
        self._fetched: set[str] = set()  # devices whose next message has crossed a slow link
        self._fetching: set[str] = set()

    def attach(self, downlink: Downlink | None) -> None:
        """Connect an Edge Hub, or take it away (None)."""
        self._downlink = downlink

    def watch(
        self, told: Callable[[bool], None] | None, discarded: Callable[[Sequence[Message]], None] | None = None
    ) -> None:
        """Tell whether IoT Hub is reached, and what it never takes; see Link."""
        self._link.watch(told, discarded)

    def tick(self) -> None:
        """Let time take effect on what is under way, and on calls that wait for a connection."""
        self._link.tick()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._dispatch(each)

    @property
    def instant(self) -> bool:
        """Whether messages arrive as they are sent, with nothing in between that could take its time."""
        return self._link.state is LinkState.UP

    # -- gateway.hub.cloud.Cloud --------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Carry messages; `done` gets those that have to be sent again."""

        def told(again: Sequence[Message]) -> None:
            if len(again) < len(messages):
                senders = {(message.device_id, message.module_id) for message in messages}
                seen = (device if module is None else f"{device}/{module}" for device, module in senders)
                self._hub.activity.seen(seen)
            done(again)

        self._link.send(messages, told)

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected; see Cloud."""
        if self._link.reachable:
            self._hub.learn_model(client_id, model_id)

    def get_twin(self, client_id: str, answer: Callable[[TwinState | CloudError], None]) -> None:
        """Read a twin; see Cloud."""
        self._link.ask(
            client_id, lambda: answer(self._state(client_id)), lambda why: answer(CloudError(why)), self._patience
        )

    def _state(self, client_id: str) -> TwinState | CloudError:
        twins = self._hub.twins
        try:
            twin, body = twins.get(client_id), twins.wire(client_id)
        except StoreError as wrong:
            self._hub.tell(wrong)
            return CloudError(Failure.TIMED_OUT)
        return TwinState(twin.desired, twin.desired_version, twin.reported, twin.reported_version, body)

    def report(self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError], None]) -> None:
        """Change reported properties; see Cloud."""
        self._link.ask(
            client_id,
            lambda: answer(self._report(client_id, patch)),
            lambda why: answer(CloudError(why)),
            self._patience,
        )

    def _report(self, client_id: str, patch: Mapping[str, Any]) -> int | TwinError:
        try:
            if not patch:  # how Edge Hub finds out whether IoT Hub is there
                return self._hub.twins.get(client_id).reported_version
            return self._hub.twins.update_reported(client_id, patch)
        except TwinRefusedError as refused:  # the whole twin would become too large
            return TwinError(refused.status, ARGUMENT_INVALID, refused.message)
        except StoreError as wrong:
            self._hub.tell(wrong)
            return CloudError(Failure.TIMED_OUT)

    def receive(self, client_id: str) -> Command | None:
        """Take the next message; see Cloud."""
        if not self._link.admits(client_id):
            return None
        try:
            if self._link.state is LinkState.SLOW and client_id not in self._fetched:
                self._fetch(client_id)
                return None
            self._fetched.discard(client_id)
            return self._hub.commands.receive(client_id)
        except StoreError as wrong:
            self._hub.tell(wrong)
            return None

    def _fetch(self, device_id: str) -> None:
        """Let a message cross a link that takes its time."""
        if device_id in self._fetching or not self._hub.commands.depth(device_id):
            return
        self._fetching.add(device_id)

        def crossed() -> None:
            self._fetching.discard(device_id)
            self._fetched.add(device_id)
            self.command_available(device_id)

        self._link.ask(device_id, crossed, lambda _: self._fetching.discard(device_id), self._feedback)

    def complete(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(command, lambda commands: commands.complete(command.lock_token))

    def reject(self, command: ReceivedCommand) -> None:
        """Settle; see Cloud."""
        self._settle(command, lambda commands: commands.reject(command.lock_token))

    def abandon(self, command: ReceivedCommand) -> None:
        """Give back; see Cloud."""
        self._settle(command, lambda commands: commands.abandon(command.lock_token))

    def _settle(self, command: ReceivedCommand, how: Callable[[CommandQueues], None]) -> None:
        def arrived() -> None:
            try:
                how(self._hub.commands)
            except CommandRefusedError:
                return  # its lock has run out: the message has gone back to the queue
            except StoreError as wrong:  # it goes back to the queue when its lock has run out
                self._hub.tell(wrong)

        # What does not arrive leaves the message locked, until its lock has run out.
        self._link.ask(None, arrived, lambda _: None, self._feedback)

    # -- what the cloud tells -----------------------------------------------------------------------------------------

    def is_connected(self, client_id: str) -> bool:
        """Whether IoT Hub knows a device or module to be connected, through a gateway that is in touch with it."""
        return self._downlink is not None and self._link.reachable and self._downlink.is_connected(client_id)

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed."""
        downlink = self._downlink
        if downlink is None or not self._link.admits(client_id):
            return  # nobody tells it again: Edge Hub reads the twin when it knows that the link is back
        if self._link.state is LinkState.SLOW:
            self._link.ask(
                client_id, lambda: downlink.desired_changed(client_id, patch, version), lambda _: None, self._feedback
            )
        else:
            downlink.desired_changed(client_id, patch, version)

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""
        if self._downlink is not None and self._link.admits(device_id):
            self._downlink.command_available(device_id)

    def call(self, call: MethodCall, answer: Answer) -> None:
        """Call a direct method; `answer` gets what becomes of it, at once or later."""
        if self._link.state is LinkState.QUOTA:
            answer(MethodResult(None, b"", 403, CloudError(Failure.QUOTA).message))
            return
        self._dispatch(_Waiting(self._clock.monotonic() + call.connect_timeout, call, answer))

    def _dispatch(self, waiting: _Waiting) -> None:
        left, call = waiting.until - self._clock.monotonic(), waiting.call
        if self._downlink is not None and self._link.admits(call.client_id):
            self._invoke(self._downlink, replace(call, connect_timeout=max(0.0, left)), waiting.answer)
        elif left > 0:
            self._waiting.append(waiting)
        else:
            waiting.answer(MethodResult(None, b"", 404, f"Client {call.client_id} not found"))

    def _invoke(self, downlink: Downlink, call: MethodCall, answer: Answer) -> None:
        lost = MethodResult(None, b"", 504, f"Timed out waiting for a response to method {call.name}")
        until = self._clock.monotonic() + call.connect_timeout + call.response_timeout

        def answered(result: MethodResult) -> None:
            left = max(0.0, until - self._clock.monotonic())
            way_back = Patience(left, left, throttles=False)  # with a latency, it stands for both ways
            self._link.ask(None, lambda: answer(result), lambda _: answer(lost), way_back)

        downlink.invoke(call, answered)
