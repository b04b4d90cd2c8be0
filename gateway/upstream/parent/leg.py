"""One identity's connection to the gateway above: opened when it is needed, opened again when it is lost.

Rules: whoever wants something of it gets one answer, from above or that there is none. A connection that could not be
opened is tried again after 1, 2, 4 ... up to 60 seconds by the hub's clock. A cloud-to-device message is acknowledged
upwards when its device has acknowledged it, and goes back when the connection ends before that.
Sources: CloudConnectionProvider.cs and CloudProxy.cs of Azure/iotedge (one cloud connection for each client, closed
with it, or when it was idle for CloudConnectionIdleTimeoutSecs).
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.hub.methods import MethodCall, MethodResult
from gateway.hub.subscriptions import Feature
from gateway.hub.topics import TopicError, parse_property_bag
from gateway.logs import without_secrets
from gateway.upstream.parent import topics
from gateway.upstream.parent.credentials import RENEW_AFTER
from gateway.upstream.parent.errors import ParentError
from gateway.upstream.parent.line import Incoming, Line

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
IDLE = 3_600.0  # CloudConnectionIdleTimeoutSecs
_METHOD_TIMEOUT = 330.0  # DeviceMethodMaxResponseTimeout of CloudReceiver
_MOST_COMMANDS = 50  # IoT Hub's queue of one device is no longer

Action = Callable[[Line | None], None]
TwinReply = Callable[[topics.TwinAnswer | None, bytes], None]


class Below(Protocol):
    """The Edge Hub as what comes from above reaches it."""

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed."""

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""

    def invoke(self, call: MethodCall, answer: Callable[[MethodResult], None]) -> None:
        """Call a direct method."""


class Owner(Protocol):
    """What holds the legs of one gateway together."""

    clock: Clock
    log: logging.Logger

    @property
    def below(self) -> Below | None:
        """The Edge Hub; None while there is none."""

    def may_open(self, leg: Leg) -> bool:
        """Whether it makes sense to try now."""

    def connect(self, leg: Leg) -> Coroutine[Any, Any, Line]:
        """Open a line for it. Raises ParentError."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Run it; the answer cancels it."""

    def opened(self, leg: Leg) -> None:
        """Its line is open."""

    def failed(self, leg: Leg, error: ParentError) -> None:
        """Its line could not be opened."""

    def lost(self, leg: Leg, reason: str) -> None:
        """Its line has ended."""


@dataclass(frozen=True, slots=True)
class Received:
    """A cloud-to-device message from above (gateway.hub.cloud.Command)."""

    lock_token: str
    body: bytes
    properties: Mapping[str, str]
    system_properties: Mapping[str, str]
    line: Line
    packet_id: int


@dataclass(slots=True)
class _Asked:
    until: float  # on the monotonic clock
    reply: TwinReply


class Leg:
    """The connection for one client id; `wanted` while the client itself is connected here."""

    def __init__(self, client_id: str, owner: Owner) -> None:
        self.client_id = client_id
        self.device_id = client_id.partition("/")[0]
        self.wanted = False
        self.left = False  # its client has disconnected: nothing keeps the line but what is under way
        self.line: Line | None = None
        self.due = 0.0
        self.model_id: str | None = None
        self.token: str | None = None  # of a client that this gateway cannot speak for: it speaks for itself
        self._owner = owner
        self._features: set[Feature] = set()
        self._commands: deque[Received] = deque()
        self._waiting: list[Action] = []
        self._asked: dict[str, _Asked] = {}
        self._numbers = 0
        self._retries = 0
        self._renew_at = 0.0
        self._used_at = owner.clock.monotonic()
        self._cancel: Callable[[], object] | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiting or self._asked or self._cancel or (self.line is not None and self.line.busy))

    # -- the line -----------------------------------------------------------------------------------------------------

    def use(self, action: Action) -> None:
        """Do something with the line once it is open, or with None when it cannot be."""
        self._used_at = self._owner.clock.monotonic()
        if self.line is not None and self.line.open_:
            action(self.line)
        elif self._cancel is not None:
            self._waiting.append(action)
        elif self._owner.may_open(self):
            self._waiting.append(action)
            self.open()
        else:
            action(None)

    def open(self) -> None:
        """Start to open the line unless that is under way."""
        if self._cancel is None and self.line is None:
            self._cancel = self._owner.spawn(self._open())

    async def _open(self) -> None:
        self._renew_at = self._owner.clock.now() + RENEW_AFTER  # its token is made before anybody answers
        try:
            line = await self._owner.connect(self)
        except ParentError as error:
            self._cancel = None
            self.due = self._owner.clock.now() + min(FIRST_RETRY * 2**self._retries, LAST_RETRY)
            self._retries = min(self._retries + 1, 6)
            self._release(None)
            self._owner.failed(self, error)
            return
        self._cancel = None
        self.line, self._retries, self.due = line, 0, 0.0
        for feature in self._features:
            self._subscribe(feature)
        self._release(line)
        self._owner.opened(self)

    def shut(self) -> None:
        """End the line; whoever waits hears that there is none."""
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        line, self.line = self.line, None
        if line is not None:
            line.close()
        self._forget()

    def ended(self, line: Line, reason: str) -> None:
        """See LineObserver."""
        if line is self.line:
            line.abort()
            self.line = None
            self.due = self._owner.clock.now() + FIRST_RETRY
            self._forget()
            self._owner.lost(self, reason)

    def break_off(self, reason: str) -> None:
        """Take the line for dead."""
        if self.line is not None:
            self.ended(self.line, reason)

    def tick(self) -> None:
        """Let time take effect."""
        now = self._owner.clock.monotonic()
        for number in [number for number, asked in self._asked.items() if asked.until <= now]:
            self._asked.pop(number).reply(None, b"")
        if self.line is None:
            if self.wanted and self._owner.may_open(self):
                self.open()
            return
        self.line.tick()
        if self.line is not None and not self.busy and self._renew_at <= self._owner.clock.now() and self.line.open_:
            line, self.line = self.line, None
            line.close()  # a token cannot be renewed in a connection
            self.open()

    @property
    def spent(self) -> bool:
        """Whether nobody needs it any more."""
        idle = self.left or self._owner.clock.monotonic() - self._used_at >= IDLE
        return not self.wanted and not self.busy and (idle or self.line is None)

    def _release(self, line: Line | None) -> None:
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action(line)

    def _forget(self) -> None:
        self._commands.clear()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.reply(None, b"")
        self._release(None)

    # -- its client ---------------------------------------------------------------------------------------------------

    def take_on(self, features: Iterable[Feature], token: str | None) -> None:
        """Its client is connected, and takes these; `token` is its own if nobody else can speak for it."""
        self.wanted, self.left, self.token = True, False, token
        for feature in features:
            self.switch(feature, True)

    def let_go(self) -> None:
        """Its client has gone. Nothing is unsubscribed: the line ends soon, and what is unread then would reset it.

        What the client has not acknowledged was given back, and waits for the client as long as the line stands.
        """
        self.wanted, self.left = False, True
        self._features.clear()

    # -- what goes up -------------------------------------------------------------------------------------------------

    def switch(self, feature: Feature, on: bool) -> None:
        """Take what a feature brings from above, or take it no longer."""
        if on:
            self._features.add(feature)
            self._subscribe(feature)
            return
        found = topics.filters(self.device_id, feature)
        if feature in self._features and found is not None and self.line is not None:
            self.line.unsubscribe(found[0])
        self._features.discard(feature)

    def _subscribe(self, feature: Feature) -> None:
        found = topics.filters(self.device_id, feature)
        if found is not None and self.line is not None:
            self.line.subscribe(*found)

    def ask_twin(self, topic: Callable[[str], str], body: bytes, patience: float, reply: TwinReply) -> None:
        """Send a twin request; `topic` makes its topic from a request id."""

        def send(line: Line | None) -> None:
            if line is None:
                reply(None, b"")
                return
            if not self._numbers or not self._asked:
                line.subscribe(topics.TWIN_ANSWERS, 0)
            self._numbers += 1
            number = str(self._numbers)
            self._asked[number] = _Asked(self._owner.clock.monotonic() + patience, reply)
            line.publish(topic(number), body, qos=0)

        self.use(send)

    def next_command(self) -> Received | None:
        """The next cloud-to-device message that is not with its device yet."""
        return self._commands.popleft() if self._commands else None

    def give_back(self, command: Received) -> None:
        """It could not be handed over: it is the next one again."""
        if command.line is self.line:
            self._commands.appendleft(command)

    # -- what comes down ----------------------------------------------------------------------------------------------

    def received(self, line: Line, message: Incoming) -> None:
        """See LineObserver."""
        said = topics.read(message.topic)
        below = self._owner.below
        match said:
            case topics.C2D():
                self._take_command(line, said.bag, message)
                return
            case topics.TwinAnswer():
                asked = self._asked.pop(said.request_id, None)
                if asked is not None:
                    asked.reply(said, message.payload)
            case topics.Desired() if below is not None:
                self._desired(below, said.version, message.payload)
            case topics.Method() if below is not None:
                self._method(below, line, said, message.payload)
        if message.qos:
            line.acknowledge(message.packet_id)

    def _take_command(self, line: Line, bag: str, message: Incoming) -> None:
        try:
            properties, system = parse_property_bag(bag)
        except TopicError as wrong:
            self._owner.log.warning("A message for %s from the parent cannot be read: %s", self.client_id, wrong)
            line.acknowledge(message.packet_id)
            return
        if len(self._commands) >= _MOST_COMMANDS:
            line.acknowledge(message.packet_id)
            return
        named = {name: value or "" for name, value in properties.items()}
        self._commands.append(Received("", message.payload, named, system, line, message.packet_id))
        if self._owner.below is not None:
            self._owner.below.command_available(self.device_id)

    def _desired(self, below: Below, version: int, body: bytes) -> None:
        patch = document(body)
        if patch is not None:
            patch.pop("$version", None)
            below.desired_changed(self.client_id, patch, version)

    def _method(self, below: Below, line: Line, said: topics.Method, body: bytes) -> None:
        def answer(result: MethodResult) -> None:
            # The product tells its parent status 0 for a client that is not there or does not answer.
            status = result.status or 0
            line.publish(topics.method_answer(status, said.request_id), result.payload, qos=0)

        name = without_secrets(self.client_id)
        self._owner.log.info("Received call for method %s of %s from the parent", said.name, name)
        below.invoke(MethodCall(self.client_id, said.name, body, _METHOD_TIMEOUT), answer)


def document(body: bytes) -> dict[str, Any] | None:
    """A JSON object; None when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
