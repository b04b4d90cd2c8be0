"""What the registry tells the Edge Hub: the identities in its device scope, and whether a token is good.

Rule: every question goes over the link; one that does not get through is answered "unreachable", after as long as the
product tries.
Sources: ServiceProxy.cs of Azure/iotedge for what belongs to a scope; IoT Hub documentation, "Control access to IoT Hub
with shared access signatures", for the hub's own judgement.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.hub.auth import SasToken, check_expiry, check_token, parse_token
from gateway.hub.identity import Identity
from gateway.hub.scope import UNREACHABLE, Answer, Answers
from gateway.hub.service_identity import Authentication
from gateway.upstream.link import SCOPE, Link, Patience
from gateway.upstream.registry import Registry

_SKEW = 0.0  # IoT Hub itself grants no time after the expiry


class Identities:
    """The registry as the Edge Hub asks it (gateway.hub.scope.ScopeSource, gateway.hub.authenticator.IdentityCheck)."""

    def __init__(
        self, registry: Callable[[], Registry], now: Callable[[], float], link: Link, patience: Patience
    ) -> None:
        self._registry = registry
        self._now = now
        self._link = link
        self._patience = patience

    def fetch(self, client_id: str, answer: Answer) -> None:
        """See ScopeSource."""
        self._link.ask(None, lambda: answer(self._registry().in_scope(client_id)), lambda _: answer(UNREACHABLE), SCOPE)

    def fetch_all(self, answer: Answers) -> None:
        """See ScopeSource."""
        self._link.ask(None, lambda: answer(self._registry().scope()), lambda _: answer(UNREACHABLE), SCOPE)

    def check_token(self, identity: Identity, token: str, answer: Callable[[bool | None], None]) -> None:
        """See IdentityCheck."""
        self._link.ask(
            None, lambda: answer(self._is_good(identity, parse_token(token))), lambda _: answer(None), self._patience
        )

    def _is_good(self, identity: Identity, token: SasToken | None) -> bool:
        registry = self._registry()
        known = registry.service_identity(identity.client_id)
        if token is None or known is None or not known.enabled or known.authentication is not Authentication.SAS:
            return False
        hosts = {registry.hub_hostname.lower()}
        return not (
            check_expiry(token, self._now(), _SKEW) or check_token(token, identity, keys=known.keys, hosts=hosts)
        )
