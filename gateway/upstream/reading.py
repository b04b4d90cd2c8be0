"""What a gateway has kept, for those who only look: neither a lock nor a change, and the gateway may be running."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.errors import StoreError
from gateway.upstream.database import LOAD, bounds, is_there, unusable
from gateway.upstream.keeper import Change
from gateway.upstream.registry import Registry
from gateway.upstream.registryfile import DEVICE, RegistryFile


class Reader:
    """Keeper of documents in `path` that writes nothing; see gateway.upstream.keeper.Keeper."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """Read; see Keeper."""
        if not is_there(self._path):
            return {}
        # Without a log nobody has it open, and SQLite would make one to read it.
        quiet = not self._path.with_name(f"{self._path.name}-wal").exists()
        name = self._path.absolute().as_uri() + ("?immutable=1" if quiet else "?mode=ro")
        try:
            database = sqlite3.connect(name, uri=True)
            try:
                return {key: json.loads(body) for key, body in database.execute(LOAD, bounds(kind, prefix))}
            finally:
                database.close()
        except (sqlite3.Error, ValueError) as wrong:
            raise unusable(self._path, wrong) from None

    def write(self, changes: Sequence[Change]) -> None:
        """Refused with StoreError."""
        raise StoreError(f"{self._path} is only read", "make changes through the gateway that has it")

    def keep(self, kind: str, key: str, document: Any | None) -> None:
        """Refused with StoreError."""
        self.write([(kind, key, None)])

    def hold(self) -> bool:
        """Nobody is kept away."""
        return True

    def release(self) -> None:
        """Nobody was kept away."""


class _Old(Reader):
    """The devices of a registry that no gateway has taken over yet."""

    def load(self, kind: str, prefix: str = "") -> dict[str, Any]:
        devices = RegistryFile(self._path, logging.getLogger(__name__)).devices() if kind == DEVICE else ()
        return {device.client_id: device.to_json() for device in devices if device.client_id.startswith(prefix)}


def kept_registry(database: Path, registry: Path) -> Registry | None:
    """The registry in `database`, or in the older file `registry`; None when there is neither.

    Raises StoreError or RegistryError for one that cannot be read.
    """
    if is_there(database):
        return Registry(Reader(database))
    return Registry(_Old(registry)) if registry.exists() else None
