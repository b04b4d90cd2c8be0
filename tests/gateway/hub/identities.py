"""The cloud as the hub's own tests have it: a table of identities that is asked, and can be cut off."""

import logging

from gateway.config import Settings
from gateway.hub.authenticator import Authenticator
from gateway.hub.rules import Rules
from gateway.hub.scope import UNREACHABLE, ScopeCache
from gateway.hub.service_identity import Authentication, ServiceIdentity
from gateway.store.scope import MemoryScope

NOW = 1_700_000_000
KEY = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="


def device(name="press", module=None, *, keys=(KEY,), **facts):
    """An identity with a key."""
    return ServiceIdentity(name, module, keys=keys, **facts)


def thumbprint_device(*thumbprints, **facts):
    """An identity with thumbprints."""
    return device(keys=(), authentication=Authentication.SELF_SIGNED, thumbprints=thumbprints, **facts)


class Source:
    """A ScopeSource and IdentityCheck: `identities` is what the cloud knows now."""

    def __init__(self, *identities):
        self.identities = {one.client_id: one for one in identities}
        self.fetched, self.listed, self.checked = [], 0, []
        self.mode = "at once"  # "silent": answers wait in `waiting`; "unreachable"
        self.waiting = []
        self.good = True

    def put(self, *identities):
        """Let the cloud know these, and the rest as before."""
        self.identities |= {one.client_id: one for one in identities}

    def fetch(self, client_id, answer):
        """See ScopeSource."""
        self.fetched.append(client_id)
        self._answer(answer, lambda: self.identities.get(client_id))

    def fetch_all(self, answer):
        """See ScopeSource."""
        self.listed += 1
        self._answer(answer, lambda: list(self.identities.values()))

    def check_token(self, identity, token, answer):
        """See IdentityCheck."""
        self.checked.append((identity.client_id, token))
        if self.mode == "unreachable":
            answer(None)
        else:
            self._answer(answer, lambda: self.good)

    def _answer(self, answer, found):
        if self.mode == "at once":
            answer(found())
        elif self.mode == "unreachable":
            answer(UNREACHABLE)
        else:
            self.waiting.append(lambda: answer(found()))

    def speak(self):
        """Answer everything that waits, and at once from now on."""
        self.mode = "at once"
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()


class Log(logging.Logger):
    """A logger that remembers its lines as `LEVEL text`."""

    def __init__(self):
        super().__init__("test", logging.INFO)
        self.lines = []

    def handle(self, record):
        """Remember a line."""
        self.lines.append(f"{record.levelname} {record.getMessage()}")

    def take(self):
        """The lines since the last time."""
        lines, self.lines = self.lines, []
        return lines


class Observer:
    """A ScopeObserver that remembers."""

    def __init__(self):
        self.told = []

    def identity_updated(self, identity):
        """See ScopeObserver."""
        self.told.append(("updated", identity.client_id))

    def identity_removed(self, client_id):
        """See ScopeObserver."""
        self.told.append(("removed", client_id))


class World:
    """A scope cache and an authenticator on a clock that is set by hand."""

    def __init__(self, *identities, mode="scope", store=None, bundle=(), start=True, **settings):
        self.now = float(NOW)
        self.source, self.log, self.observer = Source(*identities), Log(), Observer()
        self.settings = Settings(**settings)
        self.store = store or MemoryScope()
        common = {"settings": self.settings, "now": lambda: self.now, "log": self.log}
        self.scope = ScopeCache(self.source, self.store, owner="edge", **common)
        self.scope.observe(self.observer)
        self.rules = Rules({"hub.test", "gw.test"}, 300, bundle)
        scope = None if mode == "cloud" else self.scope
        cloud = None if mode == "scope" else self.source
        self.authenticator = Authenticator(self.rules, scope, cloud, **common)
        if start:
            self.scope.tick()
            self.log.take()

    def elapse(self, seconds):
        """Let time pass."""
        self.now += seconds
        self.scope.tick()
        self.authenticator.tick()
