"""The device scope: which identities this gateway knows, and when it asks the cloud about them.

Rules: an identity that is known is judged without the cloud. One that fails is asked for again, but not twice within
the refresh delay as long as it stays known; the whole scope is asked for at the start, regularly, when the link comes
back, and when an id is unknown, the last two not within the refresh delay.
Source: DeviceScopeIdentitiesCache.cs of Azure/iotedge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import Protocol

from gateway.config import Settings
from gateway.hub.authchain import Tree
from gateway.hub.service_identity import ServiceIdentity
from gateway.hub.waiting import Waiting
from gateway.logs import without_secrets

_FIRST_RETRY = 60.0  # seconds (defaultInitializationRefreshDelay)
_MOST_QUESTIONS = 4_096  # at a time: strangers may make up names while the cloud is away


class Unreachable(Enum):
    """The answer that there is none: the cloud cannot be reached."""

    UNREACHABLE = "the cloud cannot be reached"


UNREACHABLE = Unreachable.UNREACHABLE
Answer = Callable[[ServiceIdentity | Unreachable | None], None]
Answers = Callable[[Sequence[ServiceIdentity] | Unreachable], None]


class ScopeSource(Protocol):
    """IoT Hub as the cache sees it; each answer may come at once, later, or never."""

    def fetch(self, client_id: str, answer: Answer) -> None:
        """Ask for one identity; None when it is not in this gateway's scope."""

    def fetch_all(self, answer: Answers) -> None:
        """Ask for every identity in this gateway's scope, the gateway's own ones included."""


class ScopeStore(Protocol):
    """Where the cache outlives a restart. None of these may raise except `load`, which may raise StoreError."""

    def load(self) -> Iterable[ServiceIdentity]:
        """What was known when the gateway stopped."""

    def save(self, identity: ServiceIdentity) -> None:
        """Keep an identity, which replaces an older one."""

    def remove(self, client_id: str) -> None:
        """Forget an identity."""


class ScopeObserver(Protocol):
    """Who has to know that an identity has changed."""

    def identity_updated(self, identity: ServiceIdentity) -> None:
        """An identity that was known before is another now."""

    def identity_removed(self, client_id: str) -> None:
        """An enabled identity is in the scope no longer."""


class ScopeCache:
    """The identities in the scope of one gateway."""

    def __init__(
        self,
        source: ScopeSource,
        store: ScopeStore,
        *,
        settings: Settings,
        now: Callable[[], float],
        log: logging.Logger,
        owner: str,
    ) -> None:
        self._source = source
        self._store = store
        self._rate = settings.scope_refresh_rate
        self._delay = settings.scope_refresh_delay
        self._now = now
        self._log = log
        self._owner = owner
        self._identities = {identity.client_id: identity for identity in store.load()}
        self._tree = Tree(owner, self._identities.get)
        for identity in self._identities.values():
            self._tree.learn(identity)
        self._initialized = bool(self._identities)
        self._asked_at: dict[str, float] = {}  # of identities that are known
        self._asking: dict[str, Waiting] = {}
        self._refreshing = False
        self._refreshed_at: float | None = None
        self._next_refresh = now()
        self._for_refresh = Waiting()
        self._observer: ScopeObserver | None = None
        log.info("Created device scope identities cache")

    def __len__(self) -> int:
        return len(self._identities)

    def observe(self, observer: ScopeObserver) -> None:
        """Tell this one about changes from now on."""
        self._observer = observer

    def get(self, client_id: str) -> ServiceIdentity | None:
        """The identity, if it is known to be in the scope."""
        return self._identities.get(client_id)

    def auth_chain(self, client_id: str) -> str | None:
        """The way from an identity up to this gateway's device; None when it is not below it (ServiceIdentityTree)."""
        return self._tree.chain(client_id)

    def children(self, device_id: str) -> list[ServiceIdentity]:
        """What hangs directly below an edge device of the scope."""
        return self._tree.children(device_id, tuple(self._identities.values()))

    def refresh_identity(self, client_id: str, until: float, done: Callable[[], None]) -> None:
        """Ask the cloud about one identity unless that was done just now; `done` is called at `until` at the latest."""
        waiting = self._asking.get(client_id)
        if waiting is not None:
            waiting.add(until, done)
            return
        if not self._initialized or len(self._asking) >= _MOST_QUESTIONS:
            done()  # the product asks for nobody in particular before it has read the whole scope once
            return
        left = self._left(self._asked_at.get(client_id))
        if left > 0:
            text = "Skipping refresh for identity: %s, waiting %d seconds until refreshing again."
            self._log.info(text, without_secrets(client_id), left)
            done()
            return
        self._asking[client_id] = waiting = Waiting()
        waiting.add(until, done)
        self._log.info("Refreshing service identity for %s", without_secrets(client_id))
        self._source.fetch(client_id, partial(self._fetched, client_id))

    def look_up(self, client_ids: Sequence[str], until: float, done: Callable[[], None]) -> None:
        """Ask the cloud about each of these that is not known, one after the other (RefreshAuthChain)."""
        unknown = [name for name in client_ids if name not in self._identities]
        if not unknown:
            done()
            return
        rest = unknown[1:]
        self.refresh_identity(unknown[0], until, lambda: self.look_up(rest, until, done))

    def await_refresh(self, until: float, done: Callable[[], None]) -> None:
        """Ask for the whole scope unless that was done just now; `done` is called at `until` at the latest."""
        if self._may_refresh():
            self._for_refresh.add(until, done)
            self._signal()
        elif self._refreshing:
            self._for_refresh.add(until, done)
        else:
            done()

    def refresh(self) -> None:
        """Ask for the whole scope now, whenever it was asked for last."""
        if not self._refreshing:
            self._refreshing = True
            self._log.info("Starting refresh of device scope identities cache")
            self._source.fetch_all(self._fetched_all)

    def online(self) -> None:
        """The cloud can be reached again (ConnectionReauthenticator.cs, DeviceConnected)."""
        if self._may_refresh():
            self._signal()

    def tick(self) -> None:
        """Let time take effect: the regular refresh, and whoever has waited long enough."""
        now = self._now()
        if self._next_refresh <= now or self._next_refresh > now + max(self._rate, _FIRST_RETRY):
            self._next_refresh = now + self._rate
            self.refresh()
        for waiting in (*self._asking.values(), self._for_refresh):
            waiting.expire(now)

    # -- what may be asked now ----------------------------------------------------------------------------------------

    def _left(self, last: float | None) -> int:
        """For how many more seconds the cloud is not asked again; a clock that was set back asks at once."""
        since = self._delay if last is None else self._now() - last
        return int(self._delay - since + 0.999) if 0 <= since < self._delay else 0

    def _may_refresh(self) -> bool:
        left = self._left(self._refreshed_at)
        if left > 0:
            self._log.info("Skipping cache refresh, waiting %d seconds until refreshing again.", left)
        return left == 0

    def _signal(self) -> None:
        if not self._refreshing:
            self._log.info("Device scope identities refresh is ready because a refresh was signalled.")
            self.refresh()

    # -- answers ------------------------------------------------------------------------------------------------------

    def _fetched(self, client_id: str, answer: ServiceIdentity | Unreachable | None) -> None:
        waiting = self._asking.pop(client_id, None)
        if isinstance(answer, Unreachable):
            text = "Error while refreshing the service identity: %s OnBehalfOf: %s"
            self._log.warning(text, without_secrets(client_id), self._owner)
        elif answer is None:
            self._forget(client_id)
        else:
            self._asked_at[client_id] = self._now()
            self._learn(answer)
        if waiting is not None:
            waiting.release()

    def _fetched_all(self, answer: Sequence[ServiceIdentity] | Unreachable) -> None:
        self._refreshing = False
        now = self._now()
        if isinstance(answer, Unreachable):
            text = "Encountered an error while refreshing the device scope identities cache. "
            self._log.warning("%sWill retry the operation in some time...", text)
            if not self._initialized:
                text = "Retry refreshing device scope identities cache. Waiting for %d seconds."
                self._log.info(text, _FIRST_RETRY)
                self._next_refresh = now + _FIRST_RETRY
                return
        else:
            for identity in answer:
                self._learn(identity)
            for client_id in sorted(self._identities.keys() - {identity.client_id for identity in answer}):
                self._forget(client_id)
        text = "Done refreshing device scope identities cache. Waiting for %g minutes."
        self._log.info(text, self._rate / 60)
        self._initialized = True
        self._refreshed_at, self._next_refresh = now, now + self._rate
        self._for_refresh.release()

    def _learn(self, identity: ServiceIdentity) -> None:
        known = self._identities.get(identity.client_id)
        if known == identity:
            return
        if known is not None:
            self._tree.forget(known)
        self._identities[identity.client_id] = identity
        self._tree.learn(identity)
        self._store.save(identity)
        if known is not None and self._observer is not None:
            self._observer.identity_updated(identity)

    def _forget(self, client_id: str) -> None:
        known = self._identities.pop(client_id, None)
        if known is None:
            return
        self._tree.forget(known)
        self._asked_at.pop(client_id, None)
        self._store.remove(client_id)
        if known.enabled and self._observer is not None:
            self._observer.identity_removed(client_id)
