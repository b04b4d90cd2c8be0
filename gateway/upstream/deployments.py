"""What configurations do: the twins that their target conditions choose get their desired properties.

Rules: of the edge deployments for a device the base one with the highest priority applies, the younger one among
equals, and the layered ones above it, the highest last; without a base one nothing changes. Of device and module
configurations all apply, and where two set the same section the one with the higher priority does; a section that none
sets any more is taken away. A twin that is as it should be is left alone.
Sources: "Understand IoT Edge automatic deployments", "Deploy and monitor IoT Edge modules at scale" (modify a
deployment) and "Automatic device management at scale"; which twins tell the status of a deployment is inferred from the
queries of its metrics.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

from gateway.errors import GatewayError, ServiceError, StoreError
from gateway.hub.twin import diff
from gateway.upstream.configurations import Configuration, Configurations
from gateway.upstream.content import Kind, Path, check_desired, deployed_modules, is_layered, kind_of, place, settings
from gateway.upstream.device import Device
from gateway.upstream.documents import TwinDocuments
from gateway.upstream.keeping import Keep, keep_nothing
from gateway.upstream.query.paths import MODULES
from gateway.upstream.registry import Registry
from gateway.upstream.twins import Twins

PASS_SECONDS = 300.0  # "automatic configurations run ... at five minute intervals"
APPLIED, TARGETED = "Applied", "Targeted"
CONFIGURED = "configured"

P = ParamSpec("P")

log = logging.getLogger("leafgate.deployments")


class Deployments:
    """Brings twins to what the configurations say; `collections` are the twins of devices and of modules."""

    def __init__(
        self,
        configurations: Configurations,
        collections: Mapping[str, TwinDocuments],
        *,
        registry: Callable[[], Registry],
        twins: Twins,
        now: Callable[[], float],
        keep: Keep = keep_nothing,
    ) -> None:
        self._configurations = configurations
        self._collections = collections
        self._registry = registry
        self._twins = twins
        self._now = now
        self._keep = keep
        self._matched: dict[str, set[str]] = {}  # client ids by configuration
        self._status: dict[
            str, dict[str, str]
        ] = {}  # of device and module configurations, by client id and configuration
        self._deployed: dict[str, dict[str, dict[str, str]]] = {}  # of deployments, by device and module
        self._placed: dict[str, list[Path]] = {}  # sections that configurations have set, by client id
        self._next_pass = now() + PASS_SECONDS
        self._registered = 0
        configurations.subscribe(self.run)
        twins.subscribe_tags(self.tags_changed)

    def load(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what was kept, by client id."""
        self._placed = {client_id: [tuple(path) for path in one["paths"]] for client_id, one in documents.items()}
        self.run()

    def status(self, client_id: str) -> Mapping[str, str]:
        """The configurations for a twin, and whether they are Applied or only Targeted."""
        device_id, _, module_id = client_id.partition("/")
        return self._status.get(client_id, {}) | self._deployed.get(device_id, {}).get(module_id, {})

    def tick(self) -> None:
        """Go over everything every five minutes, and when devices have been registered."""
        if self._now() >= self._next_pass or (len(self._configurations) and len(self._registry()) != self._registered):
            self.run()

    def run(self) -> None:
        """Go over everything now."""
        self._next_pass = self._now() + PASS_SECONDS
        before = set().union(self._status, self._placed, self._deployed, *self._matched.values())
        self._matched = {one.id: set(self._targets(one)) for one in self._configurations}
        for client_id in sorted(before.union(*self._matched.values())):
            self._bring(client_id)
        self._registered = len(self._registry())

    def tags_changed(self, client_id: str) -> None:
        """The tags of a twin have changed: it may be chosen by others now."""
        if not len(self._configurations):
            return
        for one in self._configurations:
            chosen = self._matched.setdefault(one.id, set())
            (chosen.add if self._chooses(one, client_id) else chosen.discard)(client_id)
        self._bring(client_id)

    def forget(self, client_id: str) -> None:
        """A device or module is deleted, with what was kept for it."""
        self._status.pop(client_id, None)
        self._deployed.pop(client_id, None)
        self._placed.pop(client_id, None)
        for chosen in self._matched.values():
            chosen.discard(client_id)

    def apply_content(self, device_id: str, content: Mapping[str, Any]) -> None:
        """Set the modules of one edge device, as `az iot edge set-modules` does. Raises ServiceError."""
        device = self._registry().get(device_id)
        if device is None:
            raise ServiceError(404, "DeviceNotFound", f"The device {device_id!r} does not exist.")
        if not device.edge:
            raise ServiceError(400, "ArgumentInvalid", f"Not an Azure IoT Edge device: {device_id!r}.")
        given = {name: section for name, section in content.items() if section is not None}
        if kind_of(given) is not Kind.EDGE:
            raise ServiceError(400, "InvalidConfigurationContent", "An edge device takes modulesContent.")
        modules = given[Kind.EDGE.value]
        whole: dict[str, Any] | None = {} if not is_layered(modules) else None
        wanted = {name: self._composed(f"{device_id}/{name}", [section], whole) for name, section in modules.items()}
        for name, desired in wanted.items():
            check_desired(f"{device_id}/{name}", desired)
        for name in deployed_modules(modules):
            self._register(device_id, name)
        for name, desired in wanted.items():
            self._replace(f"{device_id}/{name}", desired)

    # -- who is chosen -----------------------------------------------------------------------------------------------

    def _targets(self, one: Configuration) -> Iterable[str]:
        target = one.target()
        keys = () if target is None else self._collections[target.collection].keys()
        return (key for key in keys if self._chooses(one, key))

    def _chooses(self, one: Configuration, client_id: str) -> bool:
        target = one.target()
        if target is None or (target.collection == MODULES) is not ("/" in client_id):
            return False
        if one.kind is Kind.EDGE:
            device = self._registry().get(client_id)
            if device is None or not device.edge:
                return False
        view = self._collections[target.collection].view(client_id, target.names, metadata=target.metadata)
        return view is not None and (target.meets is None or target.meets(view))

    # -- what they get -----------------------------------------------------------------------------------------------

    def _bring(self, client_id: str) -> None:
        chosen = [one for one in self._configurations if client_id in self._matched.get(one.id, ())]
        chosen.sort(key=lambda one: (one.priority, one.created))
        self._status.pop(client_id, None)
        device_id, _, module_id = client_id.partition("/")
        if self._registry().get(device_id, module_id or None) is None:
            self._remember(client_id, [])
            self.forget(client_id)
            return
        self._bring_sections(client_id, [one for one in chosen if one.kind is not Kind.EDGE])
        if not module_id:
            self._bring_modules(device_id, [one for one in chosen if one.kind is Kind.EDGE])

    def _bring_sections(self, client_id: str, chosen: list[Configuration]) -> None:
        """Device or module configurations, the one with the highest priority last."""
        winners: dict[Path, tuple[Configuration, Any]] = {}
        for one in chosen:
            for path, value in settings(one.section).items():
                winners[path] = (one, value)
        placed = self._placed.get(client_id, [])
        if not winners and not placed and not chosen:
            return
        current = copy.deepcopy(dict(self._twins.get(client_id).desired))
        wanted = copy.deepcopy(current)
        for path in placed:
            if path not in winners:
                place(wanted, path, None if path else {})
        for path, (_, value) in winners.items():
            place(wanted, path, value)
        took = self._tried(self._update, client_id, diff(current, wanted))
        applied = {one.id for one, _ in winners.values()} if took else set()
        if chosen:
            self._status[client_id] = {one.id: APPLIED if one.id in applied else TARGETED for one in chosen}
        self._remember(client_id, list(winners))

    def _bring_modules(self, device_id: str, chosen: list[Configuration]) -> None:
        """Edge deployments, the one with the highest priority last."""
        bases = [number for number, one in enumerate(chosen) if not one.layered]
        used = [] if not bases else [one for one in chosen[bases[-1] :] if one.layered or one is chosen[bases[-1]]]
        sections: dict[str, list[Mapping[str, Any]]] = {}
        for one in used:
            for name, section in one.section.items():
                sections.setdefault(name, []).append(section)
        wanted = {name: self._composed(f"{device_id}/{name}", parts, {}) for name, parts in sections.items()}
        names = [name for one in used for name in deployed_modules(one.section)]
        taken = [self._tried(self._register, device_id, name) for name in names]
        taken += [self._tried(self._replace, f"{device_id}/{name}", desired) for name, desired in wanted.items()]
        status: dict[str, dict[str, str]] = {}
        for one in chosen:
            for name in one.section:
                status.setdefault(name, {})[one.id] = APPLIED if one in used and all(taken) else TARGETED
        self._deployed.pop(device_id, None)
        if status:
            self._deployed[device_id] = status

    def _composed(
        self, client_id: str, parts: Iterable[Mapping[str, Any]], start: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Desired properties made of sections in turn; on what is there unless there is a start."""
        desired = dict(self._twins.get(client_id).desired) if start is None else start
        desired = copy.deepcopy(desired)
        for part in parts:
            for path, value in settings(part).items():
                place(desired, path, value)
        return desired

    def _register(self, device_id: str, name: str) -> None:
        if self._registry().get(device_id, name) is None:
            self._registry().add(Device(device_id, name))

    def _replace(self, client_id: str, desired: dict[str, Any]) -> None:
        if diff(dict(self._twins.get(client_id).desired), desired):
            self._twins.replace_desired(client_id, desired)

    def _update(self, client_id: str, patch: Mapping[str, Any]) -> None:
        if patch:
            self._twins.update_desired(client_id, patch)

    @staticmethod
    def _tried(change: Callable[P, None], *given: P.args, **named: P.kwargs) -> bool:
        """Whether a twin, or the registry, takes what is deployed; others are to get theirs in any case."""
        try:
            change(*given, **named)
        except GatewayError as refused:
            log.warning("%s does not take what is deployed: %s", given[0], refused.message)
            return False
        return True

    def _remember(self, client_id: str, paths: list[Path]) -> None:
        if paths == self._placed.get(client_id, []):
            return
        try:
            self._keep(CONFIGURED, client_id, {"paths": [list(path) for path in paths]} if paths else None)
        except StoreError as wrong:  # the next pass finds that it has to be kept
            log.error("%s; %s", wrong.message, wrong.hint)
            return
        self._placed[client_id] = paths
        if not paths:
            del self._placed[client_id]
