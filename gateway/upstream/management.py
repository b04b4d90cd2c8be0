"""What IoT Hub does with many devices at once: queries, configurations and deployments, jobs; and digital twins.

Rule: everything here works on the registry and the twins of one hub and on nothing else; what has to outlive it goes
through `keep`, by kind and key, and comes back through `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.upstream.configurations import CONFIGURATION, Configurations
from gateway.upstream.deployments import CONFIGURED, Deployments
from gateway.upstream.digitaltwins import DigitalTwins
from gateway.upstream.documents import Sources, TwinDocuments
from gateway.upstream.jobs import JOB, Invoke, JobParts, Jobs
from gateway.upstream.keeping import Keep, keep_nothing
from gateway.upstream.models import MODEL, Models
from gateway.upstream.query import Queries, Query
from gateway.upstream.query.paths import DEVICES, JOBS, MODULES
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins

#: the kinds that `keep` is called with
KINDS = (CONFIGURATION, CONFIGURED, JOB, MODEL)


class Management:
    """The parts of one hub that work on all its devices.

    `connected`, `waiting` (how many cloud-to-device messages wait) and `active` (when it was heard of last) take ids;
    `invoke` calls a direct method.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        twins: Twins,
        now: Callable[[], float],
        *,
        invoke: Invoke,
        connected: Callable[[str], bool],
        waiting: Callable[[str], int] = lambda device_id: 0,
        active: Callable[[str], float] = lambda client_id: 0.0,
        keep: Keep = keep_nothing,
    ) -> None:
        self.models = Models(keep)
        self.sources = Sources(
            registry,
            twins,
            connected,
            waiting,
            active=active,
            configurations=self._status,
            model=self.models.get,
        )
        twin_documents = {
            DEVICES: TwinDocuments(self.sources, modules=False),
            MODULES: TwinDocuments(self.sources, modules=True),
        }
        self.jobs = Jobs(now, twins, invoke, self._chosen, keep)
        self.queries = Queries({**twin_documents, JOBS: JobParts(self.jobs)})
        self.configurations = Configurations(now, self.queries.count, keep)
        self.deployments = Deployments(
            self.configurations, twin_documents, registry=registry, twins=twins, now=now, keep=keep
        )
        self.digital_twins = DigitalTwins(registry, twins, self.models.get)

    def _status(self, client_id: str) -> Mapping[str, str]:
        return self.deployments.status(client_id)

    def _chosen(self, query: Query) -> Iterator[str]:
        return self.queries.keys(query)

    def load(self, kept: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Take up what was kept: documents by key, by kind. Registry and twins have to be there already."""
        self.models.load(kept.get("model", {}))
        self.jobs.load(kept.get("job", {}))
        self.configurations.load(kept.get("configuration", {}))
        self.deployments.load(kept.get("configured", {}))

    def removal(self, client_id: str) -> list[tuple[str, str, None]]:
        """What is to be kept no more when a device or module is deleted: kind, key and nothing."""
        return [(CONFIGURED, client_id, None), (MODEL, client_id, None)]

    def forget(self, client_id: str) -> None:
        """A device or module is deleted, with what was kept for it."""
        self.models.forget(client_id)
        self.jobs.forget(client_id)
        self.deployments.forget(client_id)

    def tick(self) -> None:
        """Let time take effect on jobs and deployments. Raises StoreError, when everything has been done."""
        self.deployments.tick()
        try:
            self.jobs.tick()
        finally:
            self.models.flush()

    def flush(self) -> None:
        """Keep what has changed since the last tick. Raises StoreError."""
        try:
            self.jobs.flush()
        finally:
            self.models.flush()
