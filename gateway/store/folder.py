"""The folder with everything that a gateway keeps.

Rule: what lies in it is named here. It is readable by its owner alone; without a folder of its own a gateway has a
temporary one, and nothing is left of it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.config import Settings
from gateway.errors import GatewayError
from gateway.store import Store
from gateway.store.memory import MemoryStore
from gateway.store.scope import MemoryScope, ScopeFile
from gateway.store.sqlite import SqliteStore


class StateFolder:
    """A gateway's folder: `given`, or a temporary one that `close` takes away. `kind` is "memory" or "sqlite"."""

    def __init__(self, given: Path | None, kind: str | None, settings: Settings, log: logging.Logger) -> None:
        self._given = None if given is None else given.absolute()
        self._kind = kind or ("memory" if given is None else "sqlite")
        self._settings = settings
        self._log = log
        self._temporary: TemporaryDirectory[str] | None = None
        self._memory = MemoryStore()  # kept over a restart, so that its numbers go on
        self._scope = MemoryScope()

    @property
    def path(self) -> Path:
        """Where it is."""
        if self._given is not None:
            return self._given
        if self._temporary is None:
            self._temporary = TemporaryDirectory(prefix="leafgate-")
        return Path(self._temporary.name)

    @property
    def root_ca(self) -> Path:
        """The certificates that a leaf has to trust."""
        return self.path / "root.pem"

    @property
    def hub(self) -> Path | None:
        """Where the stand-in for IoT Hub keeps what it knows; None when it is not kept."""
        return None if self._given is None else self._given / "hub.db"

    @property
    def registry(self) -> Path | None:
        """Where registrations were kept before that."""
        return None if self._given is None else self._given / "registry.jsonl"

    @property
    def hub_root_ca(self) -> Path:
        """The certificate that a client of the cloud's service API has to trust."""
        return self.path / "hub-root.pem"

    @property
    def policies(self) -> Path | None:
        """Where the keys of the service API's policies are kept; None when they are not."""
        return None if self._given is None else self._given / "policies.json"

    @property
    def arrived(self) -> Path | None:
        """Where what arrived upstream is kept; None when it is not."""
        return None if self._given is None or self._kind == "memory" else self._given / "arrived.db"

    def prepare(self, root_pem: bytes) -> None:
        """Make it. Raises GatewayError."""
        self._write(self.root_ca, root_pem)

    def write_hub_root(self, root_pem: bytes) -> None:
        """Put the service API's root into its file. Raises GatewayError."""
        self._write(self.hub_root_ca, root_pem)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as wrong:
            hint = "choose another folder with --state"
            raise GatewayError(f"cannot write to {self.path}: {wrong.strerror}", hint) from None

    def open_store(self) -> Store:
        """Messages and sessions. Raises StoreError."""
        if self._kind == "memory":
            return self._memory
        return SqliteStore(self.path / "messages.db", durability=self._settings.durability)

    def open_scope(self) -> ScopeFile | MemoryScope:
        """The device scope."""
        return self._scope if self._given is None else ScopeFile(self._given / "scope.jsonl", self._log)

    def close(self) -> None:
        """Take a temporary folder away; the next use makes another one."""
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()
