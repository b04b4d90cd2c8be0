"""One twin with its three sections, and what is kept of it.

Rule: each section is kept with what the whole twin was when the section was last changed, so the youngest of them says
what the twin is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gateway.errors import StoreError
from gateway.hub.twin import compact
from gateway.upstream.frozen import freeze
from gateway.upstream.keeper import encode

Name = Literal["tags", "desired", "reported"]
Moment = tuple[float, int]

SECTIONS: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True, slots=True)
class Section:
    """Tags, desired or reported properties: `text` is `document` as compact JSON.

    `updated` says when each property was set: it has the document's shape, and in each object, under "$", when and with
    which version of the section the object itself was last touched.
    """

    document: Mapping[str, Any]
    text: str
    version: int
    updated: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Twin:
    """One twin; `version` counts every change of it, `etag` only those that a back end makes.

    `last_updated` is in seconds since 1970 UTC.
    """

    tags_section: Section
    desired_section: Section
    reported_section: Section
    version: int
    etag: str
    last_updated: float

    @property
    def tags(self) -> Mapping[str, Any]:
        """Tags, which devices do not see."""
        return self.tags_section.document

    @property
    def desired(self) -> Mapping[str, Any]:
        """Desired properties."""
        return self.desired_section.document

    @property
    def reported(self) -> Mapping[str, Any]:
        """Reported properties."""
        return self.reported_section.document

    def section(self, name: Name) -> Section:
        """One of the three."""
        section: Section = getattr(self, f"{name}_section")
        return section

    @property
    def desired_version(self) -> int:
        """The `$version` of the desired properties."""
        return self.desired_section.version

    @property
    def reported_version(self) -> int:
        """The `$version` of the reported properties."""
        return self.reported_section.version


def section_document(twin: Twin, name: Name) -> str:
    """One section of a twin as it is kept, as JSON."""
    section = twin.section(name)
    state = [twin.version, twin.etag, twin.last_updated]
    facts = encode({"section": name, "twin": state, "version": section.version, "updated": section.updated})
    return f'{facts[:-1]},"document":{section.text}}}'


def restored(empty: Twin, documents: Iterable[Mapping[str, Any]]) -> Twin:
    """The twin that `section_document` was made of; raises StoreError for what it did not make."""
    sections: dict[str, Section] = {name: empty.section(name) for name in SECTIONS}
    youngest = (empty.version, empty.etag, empty.last_updated)
    try:
        for kept in documents:
            section = Section(
                freeze(kept["document"]), compact(kept["document"]), int(kept["version"]), _moments(kept["updated"])
            )
            sections[kept["section"]] = section
            version, etag, last_updated = kept["twin"]
            youngest = max(youngest, (int(version), str(etag), float(last_updated)))
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        hint = "move hub.db out of the --state folder to start without it; it was not changed"
        raise StoreError(f"a twin that is kept cannot be read: {type(wrong).__name__}", hint) from None
    return Twin(sections["tags"], sections["desired"], sections["reported"], *youngest)


def _moments(updated: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {
        name: (float(below[0]), int(below[1])) if name == "$" else _moments(below) for name, below in updated.items()
    }
