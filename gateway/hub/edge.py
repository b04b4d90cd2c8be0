"""The Edge Hub proper: what happens between connected clients and the cloud.

Rule: this is the only door to the hub's parts; connections and the cloud both come through it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.config import Settings
from gateway.hub.clients import Client, Clients, Done
from gateway.hub.cloud import Cloud
from gateway.hub.commands import CommandReceiver
from gateway.hub.edgehub_twin import EdgeHubTwin
from gateway.hub.forwarder import Forwarder
from gateway.hub.inputs import InputSender
from gateway.hub.messages import InputMessage
from gateway.hub.methods import Answer, MethodCall, MethodHandler, MethodResult
from gateway.hub.metrics import UPSTREAM, Meter
from gateway.hub.routing.source import twin_change
from gateway.hub.subscriptions import Feature, feature_of
from gateway.hub.topics import ReportedPatch, Request, Telemetry, TwinGet
from gateway.hub.twin import TwinError
from gateway.hub.twin_manager import TwinManager

#: stores a message where routes say, and tells whether that could be done
Storing = Callable[[Telemetry, bytes, Callable[[bool], None]], None]


class ClientObserver(Protocol):
    """Who has to know which clients can be reached, and what they take."""

    def client_connected(self, client: Client) -> None:
        """A client can be reached; its session may have brought features along."""

    def client_disconnected(self, client: Client) -> None:
        """A client has gone, and no other connection has its id."""

    def client_subscribed(self, client: Client, feature: Feature) -> None:
        """A client takes something more."""

    def client_unsubscribed(self, client: Client, feature: Feature) -> None:
        """A client takes something less."""


class EdgeHub:
    """Twins, methods, cloud-to-device messages and module inputs of the clients of one gateway."""

    def __init__(self, cloud: Cloud, clock: Clock, settings: Settings, log: logging.Logger, *, meter: Meter) -> None:
        self._meter = meter
        self.clients = Clients(settings.max_connected_clients, log)
        self._cloud = cloud
        self._clock = clock
        self._log = log
        self._twins = TwinManager(cloud, self.clients, clock, settings, log, meter=meter, changed=self._twin_changed)
        self._methods = MethodHandler(self.clients, clock, log)
        self._commands = CommandReceiver(cloud, self.clients, log)
        self._inputs = InputSender(self.clients, clock, settings.message_ack_timeout, log)
        self._forwarder: Forwarder | None = None
        self._twin: EdgeHubTwin | None = None
        self._store: Storing | None = None
        self._observer: ClientObserver | None = None

    def store_through(self, store: Storing) -> None:
        """Have the hub's own messages stored, so that routes take them."""
        self._store = store

    def _twin_changed(self, client: Client, body: bytes, told: Callable[[bool], None]) -> None:
        """A client has changed its reported properties: a message for routes FROM /twinChangeNotifications."""
        if self._store is None or self._twin is None:
            told(True)
        else:
            own = twin_change(self._twin.edge_device_id, client.device_id, client.module_id)
            self._store(own, body, told)

    def observe(self, observer: ClientObserver) -> None:
        """Tell this one about clients from now on."""
        self._observer = observer

    def route_through(self, forwarder: Forwarder, twin: EdgeHubTwin) -> None:
        """Take telemetry too: through `forwarder`, as the hub's own twin has it."""
        self._forwarder, self._twin = forwarder, twin

    # -- what connections tell ----------------------------------------------------------------------------------------

    def connected(self, client: Client) -> None:
        """A client is connected; its session may have brought subscriptions along."""
        if self.clients.bind(client):
            if self._observer is not None:
                self._observer.client_connected(client)
            self._methods.subscribed(client)
            self._commands.receive(client)
            self._inputs_ready(client)
            self._announce(client)
        if self._twin is not None:
            self._twin.connected(client.id)

    def _announce(self, client: Client) -> None:
        """Connect to the cloud in a client's name, too."""
        self._cloud.connected(client.id, client.proof.identity.model_id if client.proof is not None else None)

    def displaced(self, client: Client) -> None:
        """The hub closes a client's connection itself."""
        self._methods.closed(client)

    def disconnected(self, client: Client) -> None:
        """A client's connection is over."""
        self.clients.remove(client)
        client.bound = False
        client.gone()
        self._inputs.gone(client)
        self._commands.gone(client)
        if self._observer is not None and self.clients.get(client.id) is None:
            self._observer.client_disconnected(client)
        if self._twin is not None and self.clients.get(client.id) is None:
            self._twin.disconnected(client.id)

    def subscribed(self, client: Client, topic_filter: str) -> None:
        """A client has subscribed."""
        feature = feature_of(topic_filter)
        if feature is None:
            return
        client.features.add(feature)
        if not client.bound:
            return
        if self._observer is not None:
            self._observer.client_subscribed(client, feature)
        if feature is Feature.METHODS:
            self._methods.subscribed(client)
        elif feature is Feature.C2D:
            self._commands.receive(client)
        elif feature is Feature.INPUTS:
            self._inputs_ready(client)

    def _inputs_ready(self, client: Client) -> None:
        if self._forwarder is not None and client.module_id is not None and Feature.INPUTS in client.features:
            self._forwarder.module_is_back(client.module_id)

    def unsubscribed(self, client: Client, topic_filter: str) -> None:
        """A client has taken a subscription back."""
        feature = feature_of(topic_filter)
        if feature is None or any(feature_of(kept) is feature for kept in client.filters):
            return
        client.features.discard(feature)
        if self._observer is not None and client.bound:
            self._observer.client_unsubscribed(client, feature)
        if feature is Feature.C2D:
            self._commands.stop(client)

    def requested(self, client: Client, request: Request, body: bytes) -> None:
        """A client has published a request or an answer; one that cannot be reached gets none."""
        if not client.bound:
            return
        if isinstance(request, TwinGet):
            self._twins.get(client, request.request_id)
        elif isinstance(request, ReportedPatch):
            self._twins.report(client, request.request_id, body)
        else:
            self._methods.respond(client, request, body)

    def refused(self, client: Client, request: TwinGet | ReportedPatch, failure: TwinError) -> None:
        """The cloud would not do what a client wants of its twin."""
        if client.bound:
            self._twins.refuse(client, request.request_id, failure)

    def readable(self, client: Client) -> None:
        """A client reads again."""
        if client.bound:
            self._twins.catch_up(client)
            self._commands.receive(client)

    # -- what the cloud tells -----------------------------------------------------------------------------------------

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Desired properties have changed; see TwinManager, and EdgeHubTwin for the hub's own."""
        if self._twin is not None and client_id == self._twin.client_id:
            self._twin.read()
        self._twins.desired_changed(client_id, patch, version)

    def command_available(self, device_id: str) -> None:
        """A cloud-to-device message waits."""
        self._commands.available(device_id)

    def invoke(self, call: MethodCall, answer: Answer, caller: str = UPSTREAM) -> None:
        """Call a direct method; see MethodHandler."""
        since = self._meter.now()
        self._meter.count("direct_methods", caller, call.client_id)

        def answered(result: MethodResult) -> None:
            took = self._meter.now() - since
            self._meter.observe("direct_method_duration_seconds", took, caller, call.client_id)
            answer(result)

        self._methods.invoke(call, answered)

    def is_connected(self, client_id: str) -> bool:
        """Whether a client is connected; the hub's own module always is."""
        return self.clients.get(client_id) is not None or (self._twin is not None and client_id == self._twin.client_id)

    def send_to_input(self, module: str, message: InputMessage, done: Done) -> None:
        """Send to an input of `device/module`; see InputSender."""
        self._inputs.send(module, message, done)

    def online(self) -> None:
        """The cloud can be reached again."""
        self._log.info("Received device connected callback")
        self._twins.online()
        self._log.info("Device connected to cloud, processing subscriptions for connected clients.")
        for client in self.clients:
            self._announce(client)
            self._commands.receive(client)
        if self._twin is not None:
            self._twin.online()
        if self._forwarder is not None:
            self._forwarder.cloud_is_back()

    # -- time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time take effect; called every second, and whenever the clock is set."""
        self._twins.tick()
        self._methods.tick()
        self._inputs.tick()
        self._commands.tick(self._clock.running())
        if self._twin is not None:
            self._twin.tick()
        if self._forwarder is not None:
            self._forwarder.tick()

    def settle(self) -> None:
        """The gateway stops: what has not gone up goes now."""
        self._twins.settle()
