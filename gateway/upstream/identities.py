"""What the registry tells the Edge Hub: the identities in its device scope, and whether a token is good.

Rule: nothing is answered while the link is down; who asked meanwhile gets the answer when it is back, as a client that
tries again would. Strangers cannot make this grow: beyond `_MOST_WAITING` questions the answer is "unreachable".
Sources: ServiceProxy.cs of Azure/iotedge for what belongs to a scope; IoT Hub documentation, "Control access to IoT Hub
with shared access signatures", for the hub's own judgement.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.hub.auth import SasToken, check_expiry, check_token, parse_token
from gateway.hub.identity import Identity
from gateway.hub.scope import UNREACHABLE, Answer, Answers
from gateway.hub.service_identity import Authentication
from gateway.upstream.registry import Registry

_MOST_WAITING = 10_000
_SKEW = 0.0  # IoT Hub itself grants no time after the expiry


class Identities:
    """The registry as the Edge Hub asks it (gateway.hub.scope.ScopeSource, gateway.hub.authenticator.IdentityCheck)."""

    def __init__(self, registry: Callable[[], Registry], now: Callable[[], float]) -> None:
        self._registry = registry
        self._now = now
        self._online = True
        self._waiting: list[Callable[[], None]] = []
        self._tell: Callable[[], None] | None = None

    def attach(self, tell: Callable[[], None] | None) -> None:
        """Call `tell` whenever the link is back, until another one is attached; None also forgets who has asked."""
        self._tell = tell
        if tell is None:
            self._waiting.clear()

    def reach(self, online: bool) -> None:
        """The link is up or down from now on."""
        was, self._online = self._online, online
        if online and not was:
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                answer()
            if self._tell is not None:
                self._tell()

    def fetch(self, client_id: str, answer: Answer) -> None:
        """See ScopeSource."""
        self._when_online(
            lambda: answer(self._registry().in_scope(client_id)),
            lambda: answer(UNREACHABLE),
        )

    def fetch_all(self, answer: Answers) -> None:
        """See ScopeSource."""
        self._when_online(lambda: answer(self._registry().scope()), lambda: answer(UNREACHABLE))

    def check_token(self, identity: Identity, token: str, answer: Callable[[bool | None], None]) -> None:
        """See IdentityCheck."""
        self._when_online(lambda: answer(self._is_good(identity, parse_token(token))), lambda: answer(None))

    def _when_online(self, act: Callable[[], None], give_up: Callable[[], None]) -> None:
        if self._online:
            act()
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(act)
        else:
            give_up()

    def _is_good(self, identity: Identity, token: SasToken | None) -> bool:
        registry = self._registry()
        known = registry.service_identity(identity.client_id)
        if token is None or known is None or not known.enabled or known.authentication is not Authentication.SAS:
            return False
        hosts = {registry.hub_hostname.lower()}
        return not (
            check_expiry(token, self._now(), _SKEW) or check_token(token, identity, keys=known.keys, hosts=hosts)
        )
