"""Where the stand-in for IoT Hub keeps what has to outlive it: JSON documents by kind and key.

Rule: whoever keeps something writes it first and changes memory when that has succeeded, so that both agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

#: kind, key, and the document as JSON; None forgets it
Change = tuple[str, str, str | None]

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Keeper(Protocol):
    """Documents by kind and key, in the order in which their keys came."""

    def write(self, changes: Sequence[Change]) -> None:
        """Make the changes together; they survive the end of the process. Raises StoreError and makes none of them."""

    def keep(self, kind: str, key: str, document: Any | None) -> None:
        """Keep one document, None forgets it. Raises StoreError and changes nothing."""

    def load(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """The documents of a kind whose keys start with `prefix`. Raises StoreError."""

    def hold(self) -> bool:
        """Keep every other gateway away until `release`; tells whether others may have made changes. StoreError."""

    def release(self) -> None:
        """Let others in; what is called afterwards still works, while nobody else is there."""


class ForgetfulKeeper:
    """For a gateway that leaves nothing behind: what is kept is kept in its owner's memory."""

    def write(self, changes: Sequence[Change]) -> None:
        """Nothing to do."""

    def keep(self, kind: str, key: str, document: Any | None) -> None:
        """Nothing to do."""

    def load(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """There never is anything."""
        return {}

    def hold(self) -> bool:
        """Nobody else is there."""
        return False

    def release(self) -> None:
        """Nobody else is there."""
