"""Twins as the Edge Hub keeps them for its clients.

Rules: a twin GET is answered 200 always: from the cloud, else from what was seen last, else with an empty twin. A
change of reported properties is answered at once, from here, and goes up later. A desired change that does not follow
on what is known here makes the hub read the whole twin and send the difference. A change of reported properties is also
a message for routes, and is answered when that is stored.
Sources: StoringTwinManager.cs, ReportedPropertiesStore.cs and DeviceMessageHandler.cs of Azure/iotedge. With `strict`
it answers as IoT Hub does: the change goes up first, the answer has its `$version`, and errors have a body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.clock import Clock
from gateway.config import Settings
from gateway.hub.clients import Client, Clients, Sent
from gateway.hub.cloud import Cloud, CloudError, TwinState
from gateway.hub.delivery import desired_topic, twin_response_topic
from gateway.hub.metrics import EDGE_HUB, Meter
from gateway.hub.subscriptions import Feature
from gateway.hub.twin import (
    SERVER_ERROR,
    TwinError,
    compact,
    diff,
    merge,
    read_patch,
    strict_error_body,
    validate_reported,
)

_MOST_UNSENT = 1 << 20  # bytes of changes; the product has no bound
_NOTHING_YET = TwinState({}, 0, {}, 0, b'{"desired":{},"reported":{}}')


@dataclass(slots=True)
class _Stored:
    """What the hub knows of one twin, and the reported changes that have not gone up."""

    state: TwinState = _NOTHING_YET
    synced_at: float = 0.0
    unsent: dict[str, Any] = field(default_factory=dict)
    unsent_bytes: int = 0


class TwinManager:
    """Answers twin requests and passes desired changes on."""

    def __init__(
        self,
        cloud: Cloud,
        clients: Clients,
        clock: Clock,
        settings: Settings,
        log: logging.Logger,
        *,
        meter: Meter,
        changed: Callable[[Client, bytes, Callable[[bool], None]], None],
    ) -> None:
        self._meter = meter
        self._changed = changed
        self._cloud = cloud
        self._clients = clients
        self._clock = clock
        self._settings = settings
        self._log = log
        self._stored: dict[str, _Stored] = {}
        self._to_sync: set[str] = set()
        self._next_sync = 0.0

    # -- requests of clients ------------------------------------------------------------------------------------------

    def get(self, client: Client, request_id: str) -> None:
        """Answer a twin GET."""
        since = self._meter.now()
        self._meter.count("gettwin", EDGE_HUB, client.id)

        def got(state: TwinState | CloudError) -> None:
            self._got(client, request_id, state)
            self._meter.observe("gettwin_duration_seconds", self._meter.now() - since, EDGE_HUB, client.id)

        self._cloud.get_twin(client.id, got)

    def _got(self, client: Client, request_id: str, state: TwinState | CloudError) -> None:
        if isinstance(state, TwinState):
            self._keep(client.id, state)
        elif self._settings.strict:
            self.refuse(client, request_id, state)
            return
        else:
            known = self._stored.get(client.id)
            state = known.state if known else _NOTHING_YET
        self._answer(client, 200, request_id, state.body)

    def report(self, client: Client, request_id: str, body: bytes) -> None:
        """Take a change of reported properties."""
        since = self._meter.now()
        self._meter.count("reported_properties", EDGE_HUB, client.id)
        try:
            patch = read_patch(body, strict=self._settings.strict)
            validate_reported(patch)
            if self._settings.strict:
                self._cloud.report(client.id, patch, lambda result: self._reported(client, request_id, result, body))
            else:
                self._store(client.id, patch, len(body))
                self._changed(client, body, lambda stored: self._notified(client, request_id, stored))
        except TwinError as wrong:
            self._refuse(client, request_id, wrong)
        took = self._meter.now() - since
        self._meter.observe("reported_properties_update_duration_seconds", took, EDGE_HUB, client.id)

    def _store(self, client_id: str, patch: dict[str, Any], size: int) -> None:
        """Keep a change until it goes up; raises TwinError."""
        known = self._stored.setdefault(client_id, _Stored())
        if known.unsent_bytes + size > _MOST_UNSENT:
            raise TwinError(500, SERVER_ERROR, f"more than {_MOST_UNSENT} bytes of changes wait for the cloud")
        known.unsent_bytes += size
        known.unsent = merge(known.unsent, patch, null_deletes=False)
        reported = merge(known.state.reported, patch)
        known.state = _state(known.state.desired, known.state.desired_version, reported, known.state.reported_version)
        self._to_sync.add(client_id)

    def _notified(self, client: Client, request_id: str, stored: bool) -> None:
        """The change is known here; whether routes have it, too, makes the answer."""
        if stored:
            self._answer(client, 204, request_id, b"")
        else:
            self._refuse(client, request_id, TwinError(500, SERVER_ERROR, "the notification could not be stored"))
        self.tick()

    def _reported(self, client: Client, request_id: str, result: int | TwinError, body: bytes) -> None:
        if isinstance(result, int):
            self._answer(client, 204, request_id, b"", result)
            self._changed(client, body, lambda stored: None)  # IoT Hub does not wait for what it tells others
        else:
            self._refuse(client, request_id, result)

    def _refuse(self, client: Client, request_id: str, wrong: TwinError) -> None:
        self._log.warning("Error updating reported properties for %s: %s", client.id, wrong.message)
        said = strict_error_body(wrong, self._clock.now()) if self._settings.strict else b""
        self._answer(client, wrong.status, request_id, said)

    def refuse(self, client: Client, request_id: str, failure: TwinError) -> None:
        """Answer a request with what IoT Hub itself says, with its body."""
        self._answer(client, failure.status, request_id, strict_error_body(failure, self._clock.now()))

    def _answer(self, client: Client, status: int, request_id: str, body: bytes, version: int | None = None) -> None:
        if not request_id.strip():
            return
        topic = twin_response_topic(status, request_id, version)
        if client.send(topic, body) is Sent.NOBODY:
            # Both device SDKs subscribe once in a session's life and wait for ever; a session that was lost on our
            # side must not hang them.
            client.proxy.deliver(topic, body, 0)

    # -- changes from the cloud ---------------------------------------------------------------------------------------

    def desired_changed(self, client_id: str, patch: Mapping[str, Any], version: int) -> None:
        """The cloud has changed desired properties: `patch` has nulls for what is gone, `version` is the new one."""
        client = self._clients.listening(client_id, Feature.DESIRED)
        if client is None:
            return
        known = self._stored.get(client_id)
        if known is not None and known.state.desired_version + 1 != version:
            self._catch_up(client, known)
            return
        if not self._send_desired(client, patch, version):
            self._stored.setdefault(client_id, _Stored())  # so that there is something to catch up from
        elif known is not None:
            state = known.state
            desired = merge(state.desired, patch)
            known.state = _state(desired, version, state.reported, state.reported_version)

    def catch_up(self, client: Client) -> None:
        """Send a client what has changed while it could not be told."""
        known = self._stored.get(client.id)
        if known is not None and Feature.DESIRED in client.features:
            self._catch_up(client, known)

    def _catch_up(self, client: Client, known: _Stored) -> None:
        before = known.state
        self._cloud.get_twin(client.id, lambda state: self._send_difference(client, before, state))

    def _send_difference(self, client: Client, before: TwinState, state: TwinState | CloudError) -> None:
        if isinstance(state, CloudError):
            return
        patch = diff(before.desired, state.desired)
        if state.desired_version != before.desired_version and not self._send_desired(
            client, patch, state.desired_version
        ):
            return
        self._keep(client.id, state)

    def _send_desired(self, client: Client, patch: Mapping[str, Any], version: int) -> bool:
        """Whether the client will know; one that does not read is caught up with when it does."""
        body = _json({**patch, "$version": version})
        return client.send(desired_topic(version), body) is not Sent.BUSY

    # -- synchronisation ----------------------------------------------------------------------------------------------

    def online(self) -> None:
        """The cloud can be reached again: reported changes go up, missed desired ones come down."""
        now = self._clock.now()
        for client in self._clients:
            known = self._stored.get(client.id)
            if known is None:
                continue
            self._sync(client.id, known)
            if Feature.DESIRED in client.features and now - known.synced_at > self._settings.min_twin_sync_period:
                self._catch_up(client, known)

    def tick(self) -> None:
        """Send reported changes up, at most once per period."""
        now = self._clock.monotonic()
        if not self._to_sync or now < self._next_sync:
            return
        self._next_sync = now + self._settings.reported_sync_period
        waiting, self._to_sync = self._to_sync, set()
        for client_id in waiting:
            self._sync(client_id, self._stored[client_id])

    def settle(self) -> None:
        """Send all reported changes up now."""
        self._next_sync = 0.0
        self.tick()

    def _sync(self, client_id: str, known: _Stored) -> None:
        if not known.unsent:
            return
        sent, size = known.unsent, known.unsent_bytes
        known.unsent, known.unsent_bytes = {}, 0

        def arrived(result: int | TwinError) -> None:
            if not isinstance(result, int):  # kept, and tried again with the next change or when the cloud is back
                known.unsent = merge(sent, known.unsent, null_deletes=False)
                known.unsent_bytes += size
                self._log.warning("Updating reported properties failed %s", client_id)

        self._cloud.report(client_id, sent, arrived)

    def _keep(self, client_id: str, state: TwinState) -> None:
        known = self._stored.setdefault(client_id, _Stored())
        known.state = state
        known.synced_at = self._clock.now()


def _state(desired: Mapping[str, Any], version: int, reported: Mapping[str, Any], reported_version: int) -> TwinState:
    document = {
        "desired": {**desired, "$version": version},
        "reported": {**reported, "$version": reported_version},
    }
    return TwinState(desired, version, reported, reported_version, _json(document))


def _json(document: Mapping[str, Any]) -> bytes:
    return compact(document).encode()
