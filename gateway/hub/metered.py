"""The cloud, with what is asked of it counted and timed.

Rule: this changes nothing of what is asked and answered.
Sources: CloudProxy.cs (`TimeGetTwin`, `TimeReportedPropertiesUpdate`) and RetryingCloudProxy.cs of Azure/iotedge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.hub.cloud import Cloud, CloudError, Command, Failure, TwinState
from gateway.hub.metrics import UPSTREAM, Meter
from gateway.hub.twin import TwinError

_NO_CONNECTION = frozenset({Failure.UNREACHABLE, Failure.TIMED_OUT})


class MeteredCloud:
    """A Cloud that tells a Meter."""

    def __init__(self, cloud: Cloud, meter: Meter) -> None:
        self._cloud = cloud
        self._meter = meter

    def get_twin(self, client_id: str, answer: Callable[[TwinState | CloudError], None]) -> None:
        """Count and time what succeeds."""
        since = self._meter.now()

        def answered(state: TwinState | CloudError) -> None:
            if isinstance(state, CloudError):
                self._failed(client_id, "GetTwinAsync", state)
            else:
                self._meter.count("gettwin", UPSTREAM, client_id)
                self._meter.observe("gettwin_duration_seconds", self._meter.now() - since, UPSTREAM, client_id)
            answer(state)

        self._cloud.get_twin(client_id, answered)

    def connected(self, client_id: str, model_id: str | None) -> None:
        """A client is connected; see Cloud."""
        self._cloud.connected(client_id, model_id)

    def report(self, client_id: str, patch: Mapping[str, Any], answer: Callable[[int | TwinError], None]) -> None:
        """Count and time what succeeds."""
        since = self._meter.now()

        def answered(result: int | TwinError) -> None:
            if isinstance(result, CloudError):
                self._failed(client_id, "UpdateReportedPropertiesAsync", result)
            elif isinstance(result, int):
                took = self._meter.now() - since
                self._meter.count("reported_properties", UPSTREAM, client_id)
                self._meter.observe("reported_properties_update_duration_seconds", took, UPSTREAM, client_id)
            answer(result)

        self._cloud.report(client_id, patch, answered)

    def _failed(self, client_id: str, operation: str, error: CloudError) -> None:
        if error.failure in _NO_CONNECTION:
            self._meter.count("operation_retry", client_id, operation)

    def receive(self, client_id: str) -> Command | None:
        """See Cloud."""
        return self._cloud.receive(client_id)

    def complete(self, command: Command) -> None:
        """See Cloud."""
        self._cloud.complete(command)

    def reject(self, command: Command) -> None:
        """See Cloud."""
        self._cloud.reject(command)

    def abandon(self, command: Command) -> None:
        """See Cloud."""
        self._cloud.abandon(command)
