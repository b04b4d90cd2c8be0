"""What an observer of the gateway is told: one frozen record per thing that happened.

Observers are called synchronously on the event loop; they must be quick and may not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.observers import Observers


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events: when (seconds since 1970 UTC, the gateway's clock) and from where (`address:port`)."""

    at: float
    peer: str


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A TLS handshake did not complete, or the client refused the certificates right after it.

    `alert` is the TLS alert by its name in RFC 8446 section 6 ("unknown_ca"); None when the peer just went away.
    `sent_by` is "client" or "gateway".
    """

    server_name: str | None
    alert: str | None
    sent_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused(Event):
    """A client got past TLS and was turned away; `code` is its CONNACK return code, None when it got no CONNACK."""

    client_id: str | None
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ClientConnected(Event):
    """A client is connected and authenticated."""

    client_id: str
    tls_version: str
    server_name: str | None


@dataclass(frozen=True, slots=True)
class ClientDisconnected(Event):
    """A connected client is gone."""

    client_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageDropped(Event):
    """A PUBLISH was acknowledged as the product does, but went nowhere."""

    client_id: str
    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class HubExited(Event):
    """Edge Hub's process has exited: every connection is gone and nobody listens. It has no `peer`."""

    reason: str


@dataclass(frozen=True, slots=True)
class HubStarted(Event):
    """Edge Hub's process has started again, with a server certificate until `expires` (seconds since 1970 UTC)."""

    expires: float


Observer = Callable[[Event], None]


class Events:
    """The observers of one gateway."""

    def __init__(self) -> None:
        self._observers = Observers[[Event]]("gateway events")

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each event from now on; the answer ends that."""
        return self._observers.subscribe(observer)

    def emit(self, event: Event) -> None:
        """Tell every observer; one that raises is logged and the others are still told."""
        self._observers.tell(event)
