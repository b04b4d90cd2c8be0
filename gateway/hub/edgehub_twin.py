"""The twin of $edgeHub, the hub's own module: its desired properties configure the hub, its reported ones show it.

Rules: desired properties without anything in them leave the shipped configuration; ones that cannot be used leave what
is there, and the reported status says why. What clients do is reported once a second at most, however many they are.
Sources: TwinConfigSource.cs, EdgeHubConnection.cs and ReportedProperties of Azure/iotedge;
https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub#edgehub-reported-properties.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.hub.cloud import Cloud, CloudError, TwinState
from gateway.hub.routing.config import EdgeHubConfig, EdgeHubConfigError, default_config, read_config
from gateway.hub.routing.source import HUB_MODULE
from gateway.hub.twin import TwinError

MODULE_ID = HUB_MODULE
_SCHEMA_VERSION = "1.0"  # of the reported properties
_NOT_IN_A_NAME = frozenset(".$ \t\r\n")  # a client whose id has one of these cannot be a property


class EdgeHubTwin:
    """Reads and writes the hub's own twin."""

    def __init__(
        self,
        cloud: Cloud,
        edge_device_id: str,
        apply: Callable[[EdgeHubConfig], None],
        now: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self.edge_device_id = edge_device_id
        self.client_id = f"{edge_device_id}/{MODULE_ID}"
        self._cloud = cloud
        self._apply = apply
        self._now = now
        self._log = log
        self._clients: dict[
            str, dict[str, float]
        ] = {}  # what is still to be reported: status -> when, the last one counts
        self._status: dict[str, Any] = {}  # likewise of the last configuration
        self._seen = -1
        self._held = False  # IoT Hub could not be reached: with the next change, or when it can be again

    def read(self) -> None:
        """Ask for the desired properties."""
        self._cloud.get_twin(self.client_id, self._got)

    def online(self) -> None:
        """IoT Hub can be reached again: what has been changed there meanwhile, nobody has told."""
        self._held = False
        self.read()
        self.tick()

    def connected(self, client_id: str) -> None:
        """A client is connected."""
        self._note(client_id, "Connected")

    def disconnected(self, client_id: str) -> None:
        """A client is gone."""
        self._note(client_id, "Disconnected")

    def tick(self) -> None:
        """Report what has changed."""
        if self._held or not (self._clients or self._status):
            return
        clients, status = self._clients, self._status
        self._clients, self._status = {}, {}
        patch = {"schemaVersion": _SCHEMA_VERSION, "version": {"version": ""}, **status}
        if clients:
            patch["clients"] = {client_id: _shown(changes) for client_id, changes in clients.items()}

        def answered(result: int | TwinError) -> None:
            if isinstance(result, CloudError):  # later, unless something newer is known by then
                self._clients = clients | self._clients
                self._status = status | self._status
                self._held = True
            elif isinstance(result, TwinError):
                self._log.debug("%s cannot report: %s", self.client_id, result.message)

        self._cloud.report(self.client_id, patch, answered)

    def _note(self, client_id: str, status: str) -> None:
        if _NOT_IN_A_NAME.isdisjoint(client_id):
            changes = self._clients.setdefault(client_id, {})
            changes.pop(status, None)
            self._held = False
            changes[status] = self._now()

    def _got(self, state: TwinState | CloudError) -> None:
        if isinstance(state, CloudError):
            return
        if state.desired_version == self._seen:
            return
        self._seen = state.desired_version
        desired = {name: value for name, value in state.desired.items() if not name.startswith("$")}
        try:
            config = read_config(desired) if desired else default_config()
        except EdgeHubConfigError as wrong:
            self._log.error("The configuration of $edgeHub is not used: %s; %s", wrong.message, wrong.hint or "")
            self._report(400, f"{wrong.message}; {wrong.hint}" if wrong.hint else wrong.message)
            return
        self._apply(config)
        if desired:
            self._log.info("$edgeHub has %d routes: %s", len(config.routes), ", ".join(config.routes) or "none")
            self._report(200, "")

    def _report(self, code: int, description: str) -> None:
        self._status = {
            "lastDesiredVersion": self._seen,
            "lastDesiredStatus": {"code": code, "description": description},
        }
        self._held = False
        self.tick()


def _shown(changes: Mapping[str, float]) -> dict[str, str]:
    """Return what is reported of one client."""
    times = {f"last{status}TimeUtc": _utc(when) for status, when in changes.items()}
    return {"status": list(changes)[-1], **times}


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z")
