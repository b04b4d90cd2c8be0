"""Whether those who are connected may stay: judged again regularly, and when what the cloud says of them changes.

Rule: a client is judged by what it showed when it connected, and by what is known here: nothing is asked, nothing can
be renewed. Clients beyond the limit of connected clients are not known to be there, so they stay.
Source: ConnectionReauthenticator.cs of Azure/iotedge; the closing lines: ConnectionManager.cs, DeviceProxy.cs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.hub.clients import Client, Clients
from gateway.hub.rules import Proof
from gateway.hub.service_identity import ServiceIdentity
from gateway.logs import without_secrets


class Reauthenticator:
    """Judges `clients` every `period` seconds of the hub's clock; `judge` says why a proof is no good any more."""

    def __init__(
        self,
        clients: Clients,
        judge: Callable[[Proof], str],
        period: float,
        now: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self._clients = clients
        self._judge = judge
        self._period = period
        self._now = now
        self._log = log
        self._last = now()
        log.info("Starting timer to authenticate connections with a period of %g seconds", period)

    def tick(self) -> None:
        """Let time take effect; a clock that was set back starts a new period."""
        now = self._now()
        since = now - self._last
        if 0 <= since < self._period:
            return
        self._last = now
        if since < 0:
            return
        self._log.info("Entering periodic task to reauthenticate connected clients")
        for client in self._clients:
            if client.proof is not None and self._judge(client.proof):
                name = without_secrets(client.id)
                self._log.warning("Reauthenticating client %s failed, removing client connection", name)
                self._log.info("Unable to re-authenticate %s, dropping client connection.", name)
                self._remove(client)

    def identity_updated(self, identity: ServiceIdentity) -> None:
        """What the cloud says of an identity has changed."""
        name = without_secrets(identity.client_id)
        self._log.info("Service identity for %s in device scope was updated.", name)
        client = self._clients.get(identity.client_id)
        if client is not None and client.proof is not None and self._judge(client.proof):
            text = "Service identity for %s in device scope was updated, dropping client connection."
            self._log.info(text, name)
            self._remove(client)

    def identity_removed(self, client_id: str) -> None:
        """An identity is in the scope no longer."""
        text = "Service identity for %s was removed from device scope, dropping client connection."
        self._log.info(text, without_secrets(client_id))
        client = self._clients.get(client_id)
        if client is not None:
            self._remove(client)

    def _remove(self, client: Client) -> None:
        name = without_secrets(client.id)
        cause = f"EdgeHubConnectionException: Connection closed for device {name}."
        self._log.info("Removing device connection for device %s", name)
        text = "Disposing MessagingServiceClient for device Id %s because of exception - %s"
        self._log.info(text, name, cause)
        self._log.info("Closing device proxy for device Id %s", name)
        client.proxy.close(cause)
