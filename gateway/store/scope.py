"""Where the device scope outlives a restart.

Rule: one line per change, so that a change stays cheap with thousands of devices; a start rewrites the file to one line
per identity. The file holds keys: it is readable by its owner alone, and never quoted in an error.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.errors import StoreError
from gateway.hub.service_identity import ServiceIdentity


class MemoryScope:
    """The scope in memory: for a gateway that leaves nothing behind."""

    def __init__(self) -> None:
        self._known: dict[str, ServiceIdentity] = {}

    def load(self) -> Iterable[ServiceIdentity]:
        """What was kept."""
        return tuple(self._known.values())

    def save(self, identity: ServiceIdentity) -> None:
        """Keep; see ScopeStore."""
        self._known[identity.client_id] = identity

    def remove(self, client_id: str) -> None:
        """Forget; see ScopeStore."""
        self._known.pop(client_id, None)

    def close(self) -> None:
        """Nothing to let go of."""


class ScopeFile:
    """The scope in a file of JSON lines."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._file = -1

    def load(self) -> Iterable[ServiceIdentity]:
        """Read the file and write it anew. Raises StoreError for a file that is damaged, and leaves it alone."""
        known = self._read() if self._path.exists() else {}
        fresh = self._path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            self._file = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            os.write(self._file, b"".join(_line({"set": identity.to_json()}) for identity in known.values()))
            fresh.replace(self._path)
        except OSError as wrong:
            self.close()
            hint = "make room on the disk of --state, or choose another folder"
            raise StoreError(f"cannot write the device scope {self._path}: {wrong.strerror}", hint) from None
        return known.values()

    def save(self, identity: ServiceIdentity) -> None:
        """Append; see ScopeStore."""
        self._append({"set": identity.to_json()})

    def remove(self, client_id: str) -> None:
        """Append; see ScopeStore."""
        self._append({"removed": client_id})

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, change: dict[str, Any]) -> None:
        try:
            os.write(self._file, _line(change))
        except OSError as wrong:
            # The scope goes on in memory; what is lost is known again once the cloud has been asked.
            self._log.warning("The device scope cannot be stored in %s: %s", self._path, wrong.strerror)

    def _read(self) -> dict[str, ServiceIdentity]:
        known: dict[str, ServiceIdentity] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")
            for line in lines[:-1]:  # what follows the last line end was being written when the gateway was killed
                change = json.loads(line)
                if "removed" in change:
                    known.pop(change["removed"], None)
                else:
                    identity = ServiceIdentity.from_json(change["set"])
                    known[identity.client_id] = identity
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
            # Only the kind of error: its text may quote the file, and the file holds keys.
            hint = "move the file away to have the scope read anew; it was not changed"
            raise StoreError(f"cannot read the device scope {self._path}: {type(wrong).__name__}", hint) from None
        return known


def _line(change: dict[str, Any]) -> bytes:
    return json.dumps(change).encode() + b"\n"
