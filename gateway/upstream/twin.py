"""One twin with its three sections, and what is kept of it.

Rule: each section is kept with what the whole twin was when the section was last changed, so the youngest of them says
what the twin is now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from gateway.errors import StoreError
from gateway.upstream.frozen import freeze
from gateway.upstream.keeper import encode

Name = Literal["tags", "desired", "reported"]
Moment = tuple[float, int]

SECTIONS: tuple[Name, ...] = get_args(Name)


class Section:
    """Tags, desired or reported properties: `text` is the document as compact JSON; nothing of it is ever changed.

    What was kept is read when somebody looks at it, so that a hundred thousand twins are quickly there.
    """

    __slots__ = ("_document", "_kept", "_updated", "text", "version")

    def __init__(self, document: Mapping[str, Any], text: str, version: int, updated: Mapping[str, Any]) -> None:
        self.text = text
        self.version = version
        self._document: Mapping[str, Any] | None = document
        self._updated: Mapping[str, Any] | None = updated
        self._kept = ""

    @classmethod
    def kept(cls, text: str, version: int, updated: str) -> Self:
        """A section whose document and times are still text."""
        section = cls({}, text, version, {})
        section._document = section._updated = None
        section._kept = updated
        return section

    @property
    def document(self) -> Mapping[str, Any]:
        """The properties. Raises StoreError when what was kept is damaged."""
        if self._document is None:
            self._document = freeze(_decoded(self.text))
        return self._document

    @property
    def updated(self) -> Mapping[str, Any]:
        """When each property was set. Raises StoreError when what was kept is damaged.

        It has the document's shape, and in each object, under "$", when (seconds since 1970 UTC) and with which version
        of the section the object itself was last touched.
        """
        if self._updated is None:
            self._updated = _decoded(self._kept)
        return self._updated

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Section):
            return NotImplemented
        same = (self.text, self.version) == (other.text, other.version)
        return same and encode(self.updated) == encode(other.updated)

    __hash__ = None  # type: ignore[assignment]  # as of any document

    def __repr__(self) -> str:
        return f"Section({self.text}, version={self.version})"


def _decoded(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise TypeError
    except (ValueError, TypeError) as wrong:
        raise _damaged(wrong) from None
    return document


def _damaged(wrong: Exception) -> StoreError:
    hint = "move hub.db out of the --state folder to start without it; it was not changed"
    return StoreError(f"a twin that is kept cannot be read: {type(wrong).__name__}", hint)


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
    """One section of a twin as it is kept, as JSON; document and times are text in it, for they are read later."""
    section = twin.section(name)
    state = [twin.version, twin.etag, twin.last_updated]
    kept = [name, section.version, state, encode(section.updated), section.text]
    return encode(kept)


def restored(empty: Twin, documents: Iterable[Any]) -> Twin:
    """The twin that `section_document` was made of; raises StoreError for what it did not make."""
    sections: dict[str, Section] = {name: empty.section(name) for name in SECTIONS}
    youngest = (empty.version, empty.etag, empty.last_updated)
    try:
        for kept in documents:
            name, version, (twin_version, etag, last_updated), updated, text = kept
            sections[name] = Section.kept(str(text), int(version), str(updated))
            youngest = max(youngest, (int(twin_version), str(etag), float(last_updated)))
    except (TypeError, ValueError) as wrong:
        raise _damaged(wrong) from None
    return Twin(sections["tags"], sections["desired"], sections["reported"], *youngest)
