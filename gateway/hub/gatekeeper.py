"""The parts of authentication put together, by the AuthenticationMode.

Source: CommonModule.cs of Azure/iotedge: Scope and CloudAndScope have the device scope, Cloud and CloudAndScope ask IoT
Hub about tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gateway.config import Settings
from gateway.hub.authenticator import Authenticator, IdentityCheck
from gateway.hub.clients import Clients
from gateway.hub.reauthenticate import Reauthenticator
from gateway.hub.rules import Rules
from gateway.hub.scope import ScopeCache, ScopeSource, ScopeStore


class IdentitySource(ScopeSource, IdentityCheck, Protocol):
    """IoT Hub's registry as the Edge Hub asks it."""


class Gatekeeper:
    """Who gets in, and who may stay; the scope is asked for at once. Raises StoreError for a damaged store."""

    def __init__(
        self,
        cloud: IdentitySource,
        store: ScopeStore,
        rules: Rules,
        *,
        clients: Clients,
        owner: str,
        settings: Settings,
        now: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        mode = settings.authentication_mode
        self._scope: ScopeCache | None = None
        if mode != "cloud":
            self._scope = ScopeCache(cloud, store, settings=settings, now=now, log=log, owner=owner)
        asked = None if mode == "scope" else cloud
        self.authenticator = Authenticator(rules, self._scope, asked, settings=settings, now=now, log=log)
        period = settings.reauthentication_period
        self._again = Reauthenticator(clients, self.authenticator.reauthenticate, period, now, log)
        if self._scope is not None:
            self._scope.observe(self._again)
            self._scope.tick()

    @property
    def scope(self) -> ScopeCache | None:
        """The device scope; None when IoT Hub alone judges."""
        return self._scope

    def refresh(self) -> None:
        """Ask for the whole scope now."""
        if self._scope is not None:
            self._scope.refresh()

    def online(self) -> None:
        """The cloud can be reached again."""
        if self._scope is not None:
            self._scope.online()

    def tick(self) -> None:
        """Let time take effect."""
        if self._scope is not None:
            self._scope.tick()
        self.authenticator.tick()
        self._again.tick()
