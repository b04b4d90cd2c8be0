"""What this gateway proves to the one above who it is with.

Rule: whoever speaks for another identity signs with the key of its own $edgeHub. With the edge device's connection
string that key is learnt from the first answer about the device scope, which its device's key is enough to ask for; the
product has the key from its identity service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.hub.authchain import EDGE_HUB, edge_hub
from gateway.hub.service_identity import Authentication, ServiceIdentity
from gateway.upstream.parent.place import Parent

TOKEN_LIFE = 3_600.0  # seconds (ClientTokenProvider.cs of Azure/iotedge)
RENEW_AFTER = 0.85 * TOKEN_LIFE


class Credentials:
    """The keys of one nested gateway."""

    def __init__(self, parent: Parent, now: Callable[[], float]) -> None:
        self.parent = parent
        self._now = now
        self._hub_key = parent.key if parent.is_module else None

    @property
    def complete(self) -> bool:
        """Whether the key of $edgeHub is known."""
        return self._hub_key is not None

    def learn(self, identities: Iterable[ServiceIdentity]) -> None:
        """Take the key of $edgeHub from an answer about the device scope."""
        if self.parent.is_module:
            return
        for identity in identities:
            own = identity.client_id == edge_hub(self.parent.device_id)
            if own and identity.authentication is Authentication.SAS and identity.keys:
                self._hub_key = identity.keys[0]

    def forget(self) -> None:
        """The key was refused: learn it anew."""
        if not self.parent.is_module:
            self._hub_key = None

    def token(self) -> str:
        """A fresh token."""
        expires = self._now() + TOKEN_LIFE
        if self._hub_key is None:
            return self.parent.token(self.parent.key, None, expires)
        return self.parent.token(self._hub_key, EDGE_HUB, expires)
