"""What the front end tells the log and the observers, at the moment it happens.

Rule: log lines are those a field engineer knows from Edge Hub (names beside them: MqttAdapter.cs,
SingleClientMessagingBridge.cs and ConnectionManager.cs of the product); secrets have no way in here: neither passwords
nor tokens are ever passed, and what a client put into the wrong field is taken out of its user name and client id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.broker.tls import PeerFacts, TlsFailedError
from gateway.errors import StoreError
from gateway.events import (
    ClientConnected,
    ClientDisconnected,
    ConnectionRefused,
    Events,
    HandshakeFailed,
    MessageDropped,
)
from gateway.hub.connect import Connect
from gateway.hub.subscriptions import feature_of
from gateway.logs import without_secrets

_PATH_TOLD = 200  # characters of a path that nobody knows
_FILTERS_TOLD = 100  # of one SUBSCRIBE: a packet has room for 60,000, whose lines would keep everybody waiting


class Party(Protocol):
    """The connection that something is told about."""

    channel: str

    @property
    def peer(self) -> str:
        """Its address:port."""

    @property
    def client_id(self) -> str | None:
        """Its client id, if it has said it."""


class Report:
    """One gateway's voice."""

    def __init__(self, log: logging.Logger, events: Events, now: Callable[[], float]) -> None:
        self._log = log
        self._events = events
        self._now = now

    def handshake_failed(self, party: Party, server_name: str | None, failure: TlsFailedError) -> None:
        """TLS ended before CONNECT (MqttAdapter.cs, ExceptionCaught)."""
        said = f"{failure.sent_by} sent alert {failure.alert}: " if failure.alert else ""
        asked = f" (asked for {server_name})" if server_name else ""
        text = "TLS handshake failed., %s%s [%s%s], %s"
        self._log.warning(text, said, failure.reason, party.peer, asked, party.channel)
        self._events.emit(
            HandshakeFailed(self._now(), party.peer, server_name, failure.alert, failure.sent_by, failure.reason)
        )

    def refused(self, party: Party, connect: Connect | None, code: int | None, reason: str) -> None:
        """A client was turned away (MqttAdapter.cs, DeviceIdentityProvider.cs)."""
        reason = without_secrets(reason)
        client_id = party.client_id
        if connect is None:
            self._log.warning("Closing connection [%s], %s, %s", party.peer, reason, party.channel)
        else:
            client_id = without_secrets(connect.client_id)
            if code == 3:
                self._log.error("Error creating client identity: %s", reason)
            self._log.error("Unable to generate identity for clientId %s: %s", client_id, reason)
            text = "ClientNotAuthenticated, Client ID: %s; Username: %s, %s"
            self._log.info(text, client_id, without_secrets(connect.username or ""), party.channel)
        self._events.emit(ConnectionRefused(self._now(), party.peer, client_id, code, reason))

    def connected(self, party: Party, connect: Connect, facts: PeerFacts) -> None:
        """A client is in (DeviceIdentityProvider.cs, MqttAdapter.cs, ConnectionManager.cs)."""
        name = connect.client_id
        if self._log.isEnabledFor(logging.INFO):
            self._log.info("Successfully generated identity for clientId %s and username %s", name, connect.username)
            self._log.info("ClientAuthenticated, %s, %s", name, party.channel)
            self._log.info("New device connection for device %s", name)
        self._events.emit(ClientConnected(self._now(), party.peer, name, facts.version, facts.server_name))

    def websocket(self, party: Party) -> None:
        """A WebSocket for MQTT is open (MqttWebSocketListener.cs)."""
        self._log.info("Processed MQTT WebSocket request with CorrelationId %s", party.channel)

    def unauthorized(self, party: Party, name: str, message: str, reason: str) -> None:
        """An HTTPS request had no good credentials (HttpRequestAuthenticator.cs); `reason` is what was judged."""
        name = without_secrets(name)
        if reason != message:
            self._log.warning("%s was refused: %s, %s", name, without_secrets(reason), party.channel)
        self._log.error("Http Authentication failed due to following issue - %s", without_secrets(message))

    def file_upload(self, party: Party, method: str, path: str) -> None:
        """An SDK has asked for file upload, which the product has no route for."""
        text = "File upload is not available through a gateway: %s %s gets 404 [%s], %s"
        self._log.warning(text, method, without_secrets(path[:_PATH_TOLD]), party.peer, party.channel)

    def unknown_path(self, party: Party, method: str, path: str) -> None:
        """An HTTPS request for something that is not there."""
        text = "Nothing is at %s, so %s gets 404 [%s], %s"
        self._log.info(text, without_secrets(path[:_PATH_TOLD]), method, party.peer, party.channel)

    def displaced(self, party: Party, name: str) -> None:
        """A client's id has connected anew (ConnectionManager.cs)."""
        cause = f"MultipleConnectionsException: Multiple connections detected for device {name}"
        text = "Disposing MessagingServiceClient for device Id %s because of exception - %s"
        self._log.info(text, name, cause)
        self._log.info("Closing device proxy for device Id %s, %s", name, party.channel)

    def disconnected(self, party: Party, name: str, reason: str) -> None:
        """A connected client is gone (SingleClientMessagingBridge.cs, ConnectionManager.cs)."""
        if reason:
            cause = reason if "Exception" in reason else f"ProtocolGatewayException: {reason}"
            self._log.warning("Closing connection for device: %s, %s, %s", name, cause, party.channel)
        else:
            self._log.info("Closing connection for device: %s, , %s", name, party.channel)
        self._log.info("Device connection removed for device %s", name)
        self._events.emit(ClientDisconnected(self._now(), party.peer, name, reason or "DISCONNECT"))

    def subscribed(self, party: Party, topic_filters: Iterable[str]) -> None:
        """Filters that nothing is ever delivered to are granted and named (SessionStateParser.cs)."""
        unknown = [name for name in topic_filters if feature_of(name) is None]
        for name in unknown[:_FILTERS_TOLD]:
            self._log.info("Ignoring unknown subscription to topic %s for %s", name, party.client_id)
        if len(unknown) > _FILTERS_TOLD:
            self._log.info("Ignoring %d more of %s", len(unknown) - _FILTERS_TOLD, party.client_id)

    def store_failed(self, error: StoreError) -> None:
        """Something could not be stored."""
        self._log.error("%s", error.message)

    def unexpected_acknowledgement(self, party: Party, packet_id: int) -> None:
        """A PUBACK for nothing that was sent; it is ignored (MqttAdapter.cs, AbortOnOutOfOrderPubAck is off)."""
        self._log.warning("#%d was received while #1 was expected., %s, %s", packet_id, party.client_id, party.channel)

    def dropped(self, party: Party, topic: str, reason: str) -> None:
        """A message was acknowledged and goes nowhere (MessagingServiceClient.cs)."""
        self._log.warning("Message was not sent for device Id %s. %s", party.client_id, reason)
        self._events.emit(MessageDropped(self._now(), party.peer, party.client_id or "", topic, reason))
