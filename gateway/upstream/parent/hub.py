"""The gateway above as the cloud of this one (`parent_hostname` of IoT Edge).

Rules: the connection of this gateway's own $edgeHub decides whether the gateway above can be reached; every other
connection speaks for one identity below. Nothing is kept here over an outage: telemetry goes back to its queue, twins
to their store, and who asks hears that nobody is there.
Sources: ConnectionManager.cs, CloudEndpoint.cs and DeviceConnectivityManager.cs of Azure/iotedge; by default the
product speaks AMQP upstream, with UpstreamProtocol=Mqtt as here.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from gateway.clock import Clock
from gateway.config import Settings
from gateway.hub.authchain import edge_hub
from gateway.hub.clients import Client
from gateway.hub.cloud import CloudError, Command, Failure, TwinState
from gateway.hub.identity import Identity
from gateway.hub.messages import Message
from gateway.hub.scope import ScopeCache
from gateway.hub.subscriptions import Feature
from gateway.hub.twin import SERVER_ERROR, TwinError, compact
from gateway.logs import without_secrets
from gateway.upstream.parent import topics
from gateway.upstream.parent.batch import Batch
from gateway.upstream.parent.credentials import Credentials
from gateway.upstream.parent.dial import dial
from gateway.upstream.parent.errors import ParentError
from gateway.upstream.parent.https import post
from gateway.upstream.parent.leg import LAST_RETRY, Below, Leg, Received, document
from gateway.upstream.parent.line import Hello, Line
from gateway.upstream.parent.place import Parent
from gateway.upstream.parent.scope import ParentScope, ScopeQuestions

T = TypeVar("T")
_OPEN_TIMEOUT = 60.0  # real seconds for TCP, TLS and CONNECT, or one HTTPS request


class ParentHub:
    """IoT Hub through the gateway above: Cloud, and the line that telemetry goes up on.

    `trust` gives the TLS context for each connection. `reachable` says whether the gateway above is there.
    """

    def __init__(
        self, parent: Parent, trust: Callable[[], ssl.SSLContext], clock: Clock, settings: Settings, log: logging.Logger
    ) -> None:
        self.parent = parent
        self.clock = clock
        self.log = log
        self.reachable = False
        self._trust = trust
        self._settings = settings
        self._below: Below | None = None
        self._scope: ScopeCache | None = None
        self._credentials = Credentials(parent, clock.now)
        self._questions = ScopeQuestions(self._credentials, self._post)
        self.identities = ParentScope(self._questions, self._check_token, self.spawn, self._say)
        self._tasks: set[asyncio.Task[None]] = set()
        self._legs: dict[str, Leg] = {}
        self._own = self._leg(edge_hub(parent.device_id))
        self._own.switch(Feature.DESIRED, True)
        self._batches: list[Batch] = []
        self._said = ""
        self._told: Callable[[bool], None] = _nobody
        self._discarded: Callable[[Sequence[Message]], None] = _nobody

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def below(self) -> Below | None:
        """The Edge Hub of this gateway, while it runs."""
        return self._below

    def attach(self, downlink: Below | None) -> None:
        """Connect an Edge Hub, and with it this gateway; None ends every connection."""
        self._below = downlink
        if downlink is None:
            self.watch(None)
            self.reachable = False
            self._offline()
            self.identities.forget()
            self._own.shut()
            for task in tuple(self._tasks):
                task.cancel()
        else:
            self._own.wanted, self._own.due = True, 0.0
            self._own.open()

    @property
    def uplink(self) -> Self:
        """The way up: this."""
        return self

    @property
    def instant(self) -> bool:
        """Nothing arrives above in no time."""
        return False

    def watch(
        self, told: Callable[[bool], None] | None, discarded: Callable[[Sequence[Message]], None] | None = None
    ) -> None:
        """Tell `told` whether the gateway above is reached, `discarded` what it never takes; None ends that."""
        self._told = told or _nobody
        self._discarded = discarded or _nobody

    def serve(self, scope: ScopeCache | None) -> None:
        """Speak for the identities of this device scope from now on."""
        self._scope = scope

    async def stop(self) -> None:
        """Wait until nothing is left of what `attach(None)` has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def tick(self) -> None:
        """Let time take effect."""
        now = self.clock.monotonic()
        for batch in [batch for batch in self._batches if batch.until <= now]:
            batch.give_up()
        for leg in tuple(self._legs.values()):
            leg.tick()
            if leg is not self._own and leg.spent:
                leg.shut()
                del self._legs[leg.client_id]

    # -- clients of this gateway (gateway.hub.edge.ClientObserver) -----------------------------------------------------

    def client_connected(self, client: Client) -> None:
        """A client is here: speak for it above."""
        leg = self._leg(client.id)
        leg.take_on(client.features, self._own_token(client))
        if self.may_open(leg):
            leg.open()

    def _own_token(self, client: Client) -> str | None:
        """The token of a client that only the gateway above knows (AuthenticationMode Cloud, CloudAndScope)."""
        known = self._scope is not None and self._scope.auth_chain(client.id) is not None
        if known or client.proof is None or not client.proof.password:
            return None
        return client.proof.password.decode("utf-8", errors="replace")

    def client_disconnected(self, client: Client) -> None:
        """It has gone: so does its connection above with the next tick, once what is under way has arrived."""
        leg = self._legs.get(client.id)
        if leg is not None and leg is not self._own:
            leg.let_go()

    def client_subscribed(self, client: Client, feature: Feature) -> None:
        """It takes something more."""
        self._leg(client.id).switch(feature, True)

    def client_unsubscribed(self, client: Client, feature: Feature) -> None:
        """It takes something less."""
        self._leg(client.id).switch(feature, False)

    # -- gateway.hub.cloud.Cloud --------------------------------------------------------------------------------------

    def get_twin(self, client_id: str, answer: Callable[[TwinState | CloudError], None]) -> None:
        """Read a twin; see Cloud."""

        def replied(said: topics.TwinAnswer | None, body: bytes) -> None:
            if said is not None:
                self._told(True)
            state = _state(body) if said is not None and said.status == 200 else None
            answer(state or CloudError(Failure.UNREACHABLE))

        self._leg(client_id).ask_twin(topics.twin_get, b"", self._settings.cloud_operation_timeout, replied)

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected; its model is told above when its connection is opened there."""
        self._leg(client_id).model_id = model_id

    def report(self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError], None]) -> None:
        """Change reported properties; see Cloud. The version is 0: an Edge Hub does not tell it."""

        def replied(said: topics.TwinAnswer | None, body: bytes) -> None:
            if said is None:
                answer(CloudError(Failure.UNREACHABLE))
                return
            self._told(True)
            if said.status == 204:
                answer(said.version)
            else:
                answer(TwinError(said.status, SERVER_ERROR, f"the parent answered {said.status}"))

        patience, body = self._settings.cloud_operation_timeout, compact(patch).encode()
        self._leg(client_id).ask_twin(topics.twin_report, body, patience, replied)

    def receive(self, client_id: str) -> Command | None:
        """Take the next message; see Cloud."""
        leg = self._legs.get(client_id)
        return None if leg is None else leg.next_command()

    def complete(self, command: Command) -> None:
        """Settle; see Cloud."""
        assert isinstance(command, Received)
        command.line.acknowledge(command.packet_id)

    def reject(self, command: Command) -> None:
        """Settle; MQTT knows no way to refuse, so that the message counts as delivered."""
        self.complete(command)

    def abandon(self, command: Command) -> None:
        """Give back; see Cloud."""
        assert isinstance(command, Received)
        for leg in tuple(self._legs.values()):
            leg.give_back(command)

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], done: Callable[[Sequence[Message]], None]) -> None:
        """Send up, each message in the name of who sent it; `done` gets those that have to be sent again."""
        kept = [message for message in messages if not self._is_undeliverable(message)]
        if len(kept) < len(messages):
            self._discarded([message for message in messages if message not in kept])
        if not kept or not self.reachable:
            done(kept)
            return
        batch = Batch(kept, self.clock.monotonic(), done, self._batches)
        for number, message in enumerate(kept):
            batch.send(number, message, self._leg(_client_id(message)))

    def _is_undeliverable(self, message: Message) -> bool:
        size = len(topics.telemetry(message).encode()) + len(message.body) + 16
        if size > self._settings.max_packet_size:
            self.log.warning("Dropping a message of %s: the parent takes no %d bytes", _client_id(message), size)
            return True
        scope, leg = self._scope, self._legs.get(_client_id(message))
        known = not scope or scope.auth_chain(_client_id(message)) is not None or (leg is not None and leg.token)
        if not known and self._settings.track_device_state:
            self.log.warning("Dropping a message of %s: it is not in the device scope", _client_id(message))
            return True
        return False

    # -- what the legs need (Owner) -----------------------------------------------------------------------------------

    def may_open(self, leg: Leg) -> bool:
        """Whether it makes sense to try now; a clock that was set back waits no longer than the longest delay."""
        now = self.clock.now()
        rested = leg.due <= now or leg.due > now + LAST_RETRY
        return self._below is not None and rested and (self.reachable or leg is self._own)

    async def connect(self, leg: Leg) -> Line:
        """Open a line in the name of a leg's identity. Raises ParentError."""
        if leg is self._own and not self._credentials.complete:
            await self._limited(self._questions.below(self.parent.device_id))
            if not self._credentials.complete:
                raise ParentError("http", f"the parent does not tell the key of {leg.client_id}", refused=True)
        chain = self._chain(leg.client_id) if leg.token is None else None
        name = topics.username(self.parent.hub_hostname, leg.client_id, chain, leg.model_id)
        hello = Hello(leg.client_id, name, leg.token or self._credentials.token())
        return await self._limited(self._open(hello, leg))

    async def _open(self, hello: Hello, leg: Leg) -> Line:
        plug = await dial(self.parent.mqtt, self.parent.hostname, self._trust())
        return await Line.open(hello, plug, leg)

    def _chain(self, client_id: str) -> str:
        own = f"{client_id};{self.parent.device_id}"
        if client_id == self._own.client_id or self._scope is None:
            return own
        return self._scope.auth_chain(client_id) or own

    def spawn(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Run it beside everything else; the answer cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    def opened(self, leg: Leg) -> None:
        """A line is open."""
        if leg is not self._own or self.reachable or self._below is None:
            return
        self.reachable, self._said = True, ""
        self.log.info("Connected to the parent %s as %s", self.parent.hostname, leg.client_id)
        self.identities.reach(True)
        self._told(True)
        for other in tuple(self._legs.values()):
            if other.wanted and self.may_open(other):
                other.open()

    def failed(self, leg: Leg, error: ParentError) -> None:
        """A line could not be opened."""
        if leg is self._own:
            if error.refused:
                self._credentials.forget()
            self._offline()
        name = without_secrets(leg.client_id)
        self._say(error, f"Could not get an active Iot Hub connection for client {name}")

    def lost(self, leg: Leg, reason: str) -> None:
        """A line has ended."""
        self.log.info("The connection to the parent for %s has ended: %s", without_secrets(leg.client_id), reason)
        if leg is self._own:
            self._offline()

    def _offline(self) -> None:
        if self.reachable:
            self.reachable = False
            self._told(False)  # a connection that has ended leaves no doubt
        self._told(False)
        self.identities.reach(False)
        for leg in tuple(self._legs.values()):
            if leg is not self._own:
                leg.shut()
                leg.due = 0.0

    def _say(self, error: ParentError, text: str = "The parent cannot be asked about the device scope") -> None:
        """Tell the log, but not the same again and again."""
        said = f"{text}: {self.parent.hostname}: {error.reason}"
        if said != self._said:
            self._said = said
            self.log.warning("%s", without_secrets(said))

    # -- questions ----------------------------------------------------------------------------------------------------

    def _leg(self, client_id: str) -> Leg:
        leg = self._legs.get(client_id)
        if leg is None:
            leg = self._legs[client_id] = Leg(client_id, self)
        return leg

    async def _post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        parent, token = self.parent, self._credentials.token()
        return await self._limited(post(parent, self._trust(), path, token=token, document=body))

    async def _check_token(self, identity: Identity, token: str) -> bool:
        name = topics.username(self.parent.hub_hostname, identity.client_id, None)
        stranger = Leg(identity.client_id, self)
        try:
            line = await self._limited(self._open(Hello(identity.client_id, name, token), stranger))
        except ParentError as error:
            if error.refused:
                return False
            raise
        line.close()
        return True

    async def _limited(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                return await work
        except TimeoutError:
            raise ParentError("tcp", f"no answer within {_OPEN_TIMEOUT:g} seconds") from None


def _nobody(_: object) -> None:
    """Nobody watches."""


def _client_id(message: Message) -> str:
    return message.device_id if message.module_id is None else f"{message.device_id}/{message.module_id}"


def _state(body: bytes) -> TwinState | None:
    """A twin as a device gets it."""
    found = document(body) or {}
    desired, reported = found.get("desired"), found.get("reported")
    if not isinstance(desired, dict) or not isinstance(reported, dict):
        return None
    versions = [part.pop("$version", 0) for part in (desired, reported)]
    if not all(isinstance(version, int) for version in versions):
        return None
    return TwinState(desired, versions[0], reported, versions[1], body)
