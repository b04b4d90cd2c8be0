"""Device and module twins as IoT Hub keeps them.

Rule: what is handed out cannot be changed, and a change makes new documents: whoever holds an old one still has it. A
change that is refused changes nothing. Each change raises the version of its own section by one. A section is kept by
itself: what a device reports does not write its desired properties again.
Sources: IoT Hub documentation, "Understand and use device twins in IoT Hub" (format, limits, metadata), and
TwinCollection.cs of Azure/azure-iot-sdk-csharp (`$lastUpdatedVersion`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from gateway.errors import HubCode, TwinRefusedError
from gateway.hub.twin import MOST_BYTES, TwinError, check_properties, compact
from gateway.observers import Observers
from gateway.upstream import etags
from gateway.upstream.frozen import FrozenDict, freeze
from gateway.upstream.keeper import Change as KeptChange
from gateway.upstream.keeper import ForgetfulKeeper, Keeper
from gateway.upstream.twin import SECTIONS, Moment, Name, Section, Twin, restored, section_document

#: the kind under which twins are kept, a section each: its key is the client id, a blank and the section's name
TWIN = "twin"
Observer = Callable[[str, Mapping[str, Any], int], None]
#: told of every change: whose twin, whether it was replaced, and what was merged into which section
Watcher = Callable[[str, bool, Mapping[Name, Any]], None]


class Unchanged(Enum):
    """Says of a section that it stays as it is."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
Change = Mapping[str, Any] | None | Unchanged

_MOST_TAG_BYTES = 8 * 1_024
_NOTHING = FrozenDict()


class Twins:
    """The twins by client id (`device` or `device/module`), each created empty when it is first asked for."""

    def __init__(self, now: Callable[[], float], keeper: Keeper | None = None) -> None:
        self._now = now
        self._keeper = keeper or ForgetfulKeeper()
        self._twins: dict[str, Twin] = {}
        self._wires: dict[str, bytes] = {}
        self._observers = Observers[[str, Mapping[str, Any], int]]("twins")
        self._tag_observers = Observers[[str]]("tags")
        self._watchers = Observers[[str, bool, Mapping[Name, Any]]]("changes of twins")

    def get(self, client_id: str) -> Twin:
        """The twin at this moment. Raises StoreError when what is kept of it cannot be read."""
        twin = self._twins.get(client_id)
        if twin is None:
            kept = self._keeper.load(TWIN, f"{client_id} ")
            twin = self._twins[client_id] = restored(_empty(self._now()), kept.values())
        return twin

    def load_all(self) -> None:
        """Read every twin that is kept: quicker than one by one. Raises StoreError."""
        kept: dict[str, list[Any]] = {}
        for key, document in self._keeper.load(TWIN).items():
            kept.setdefault(key.partition(" ")[0], []).append(document)
        now = self._now()
        for client_id, documents in kept.items():
            if client_id not in self._twins:
                self._twins[client_id] = restored(_empty(now), documents)

    def reload(self) -> None:
        """Others may have made changes: read each twin anew when it is asked for."""
        self._twins.clear()
        self._wires.clear()

    def wire(self, client_id: str) -> bytes:
        """The JSON that a device gets for a twin GET."""
        found = self._wires.get(client_id)
        if found is None:
            twin = self.get(client_id)
            desired, reported = _with_version(twin.desired_section), _with_version(twin.reported_section)
            found = self._wires[client_id] = f'{{"desired":{desired},"reported":{reported}}}'.encode()
        return found

    def update(
        self,
        client_id: str,
        *,
        tags: Change = UNCHANGED,
        desired: Change = UNCHANGED,
        etag: str | None = None,
        anew: bool = False,
    ) -> Twin:
        """Change tags, desired properties or both together, if `etag` (as in If-Match) is still the twin's; returns it.

        A document is merged in (null deletes), None clears the whole section; with `anew` a document replaces what was
        there, and devices are told null for what is gone. Observers are told of desired changes. Raises
        TwinRefusedError: 400, or 412 when the twin has been changed meanwhile.
        """
        twin = self.get(client_id)
        if not etags.matches(etag, twin.etag):
            hint = "read the twin again, and make the change to what it is now"
            message = f"the twin of {client_id!r} has been changed meanwhile"
            raise TwinRefusedError(412, message, hint, HubCode.PreconditionFailed)
        patches: dict[Name, dict[str, Any]] = {}
        if not isinstance(tags, Unchanged):
            patches["tags"] = _patch("tags", twin.tags, tags, anew=anew)
        if not isinstance(desired, Unchanged):
            patches["desired"] = _patch("desired", twin.desired, desired, anew=anew)
        if patches:
            sections = {name: self._changed(name, twin.section(name), patch) for name, patch in patches.items()}
            twin = self._put(client_id, twin, sections, _next_etag(twin.etag))
            self._watchers.tell(client_id, anew, {name: freeze(patch) for name, patch in patches.items()})
            if "desired" in patches:
                self._observers.tell(client_id, freeze(patches["desired"]), twin.desired_version)
            if "tags" in patches:
                self._tag_observers.tell(client_id)
        return twin

    def update_desired(self, client_id: str, patch: Mapping[str, Any] | None) -> int:
        """Merge into the desired properties (null deletes, None clears them all); returns the new version.

        Observers are told. Raises TwinRefusedError.
        """
        return self.update(client_id, desired=patch).desired_version

    def replace_desired(self, client_id: str, document: Mapping[str, Any]) -> int:
        """Set the desired properties anew; devices are told null for what is gone. Returns the new version.

        Raises TwinRefusedError.
        """
        return self.update(client_id, desired=document, anew=True).desired_version

    def update_reported(self, client_id: str, patch: Mapping[str, Any]) -> int:
        """Merge into the reported properties, as a device does; returns the new version. Raises TwinRefusedError."""
        twin = self.get(client_id)
        taken = _taken("reported", patch)
        section = self._changed("reported", twin.reported_section, taken)
        self._put(client_id, twin, {"reported": section}, twin.etag)
        self._watchers.tell(client_id, False, {"reported": freeze(taken)})
        return section.version

    def update_tags(self, client_id: str, patch: Mapping[str, Any] | None) -> None:
        """Merge into the tags (null deletes, None clears them all). Raises TwinRefusedError."""
        self.update(client_id, tags=patch)

    def remove(self, client_id: str) -> None:
        """Forget a twin. Raises StoreError."""
        self._keeper.write(self.removal(client_id))
        self.forget(client_id)

    def removal(self, client_id: str) -> list[KeptChange]:
        """What `remove` makes of what is kept; `forget` is for when that has been done."""
        return [(TWIN, f"{client_id} {name}", None) for name in SECTIONS]

    def forget(self, client_id: str) -> None:
        """Forget a twin that is kept no more."""
        self._twins.pop(client_id, None)
        self._wires.pop(client_id, None)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with client id, patch (nulls included) and version of each desired change.

        The answer ends that.
        """
        return self._observers.subscribe(observer)

    def subscribe_tags(self, observer: Callable[[str], None]) -> Callable[[], None]:
        """Call `observer` with the client id after each change of tags; the answer ends that."""
        return self._tag_observers.subscribe(observer)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with each change of a twin; the answer ends that."""
        return self._watchers.subscribe(watcher)

    def document(self, client_id: str) -> dict[str, Any]:
        """The twin as the service's REST API gives it: tags and properties with `$metadata` and `$version`."""
        twin = self.get(client_id)
        device_id, slash, module_id = client_id.partition("/")
        return {
            "deviceId": device_id,
            **({"moduleId": module_id} if slash else {}),
            "etag": twin.etag,
            "version": twin.version,
            "tags": json.loads(twin.tags_section.text),
            "properties": {
                "desired": _served(twin.desired_section, versions=True),
                "reported": _served(twin.reported_section, versions=False),
            },
        }

    def _changed(self, name: Name, section: Section, patch: dict[str, Any]) -> Section:
        merged = _merge(section.document, patch)
        text = compact(merged)
        size, most = len(text.encode()), _MOST_TAG_BYTES if name == "tags" else MOST_BYTES
        if size > most:
            raise TwinRefusedError(400, f"the {name} of the twin would have {size} bytes; {most} is the most")
        version = section.version + 1
        return Section(freeze(merged), text, version, _touched(section.updated, patch, (self._now(), version)))

    def _put(self, client_id: str, twin: Twin, sections: Mapping[Name, Section], etag: str) -> Twin:
        changed = replace(
            twin,
            tags_section=sections.get("tags", twin.tags_section),
            desired_section=sections.get("desired", twin.desired_section),
            reported_section=sections.get("reported", twin.reported_section),
            version=twin.version + 1,
            etag=etag,
            last_updated=self._now(),
        )
        names = sections if twin.version > 1 else SECTIONS  # the first change says when the others came into being, too
        self._keeper.write([(TWIN, f"{client_id} {name}", section_document(changed, name)) for name in names])
        self._twins[client_id] = changed
        self._wires.pop(client_id, None)
        return changed


def _empty(now: float) -> Twin:
    section = Section(_NOTHING, "{}", 1, {"$": (now, 0)})
    return Twin(section, section, section, 1, _etag(1), now)


def _etag(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()


def _next_etag(etag: str) -> str:
    return _etag(int.from_bytes(base64.b64decode(etag), "big") + 1)


def _taken(name: Name, patch: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what the caller gave, as JSON has it; raises TwinRefusedError for what a twin cannot hold."""
    try:
        text = compact(dict(patch))
        text.encode()
        copied: dict[str, Any] = json.loads(text)
        check_properties(copied)
    except TwinError as refused:
        raise TwinRefusedError(400, refused.message) from None
    except (TypeError, ValueError, RecursionError) as wrong:
        raise TwinRefusedError(400, f"the {name} of a twin must be a JSON object: {wrong}") from None
    return copied


def _patch(name: Name, before: Mapping[str, Any], change: Mapping[str, Any] | None, *, anew: bool) -> dict[str, Any]:
    """What a back end's change comes to as a patch."""
    if change is None:
        return dict.fromkeys(before)
    taken = _taken(name, change)
    return _replacing(before, _merge(_NOTHING, taken)) if anew else taken


def _merge(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396: IoT Hub keeps no null, Edge Hub (`gateway.hub.twin.merge`) keeps those in an object that is new."""
    merged = dict(document)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merge(before if isinstance(before, dict) else _NOTHING, value)
        else:
            merged[name] = value
    return merged


def _replacing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes `after` of `before` and repeats what stays."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        patch[name] = _replacing(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return patch


def _touched(updated: Mapping[str, Any], patch: Mapping[str, Any], moment: Moment) -> dict[str, Any]:
    touched = {**updated, "$": moment}
    for name, value in patch.items():
        if value is None:
            touched.pop(name, None)
        elif isinstance(value, dict):
            touched[name] = _touched(touched.get(name, {}), value, moment)
        else:
            touched[name] = {"$": moment}
    return touched


def _with_version(section: Section) -> str:
    comma = "," if section.document else ""
    return f'{section.text[:-1]}{comma}"$version":{section.version}}}'


def _served(section: Section, *, versions: bool) -> dict[str, Any]:
    metadata = _metadata(section.updated, versions=versions)
    return {**json.loads(section.text), "$metadata": metadata, "$version": section.version}


def _metadata(updated: Mapping[str, Any], *, versions: bool) -> dict[str, Any]:
    moment, version = updated["$"]
    said: dict[str, Any] = {"$lastUpdated": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"}
    if versions and version:
        said["$lastUpdatedVersion"] = version
    return said | {name: _metadata(below, versions=versions) for name, below in updated.items() if name != "$"}
