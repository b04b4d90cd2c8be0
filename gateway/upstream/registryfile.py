"""The registry as it was kept before there was a database: one line of JSON per change.

Rule: it is only read, and its devices go into a new database; afterwards it lies beside it, as it was, under another
name. The file holds keys, so no error quotes it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import RegistryError, StoreError
from gateway.upstream.device import Device
from gateway.upstream.keeper import Change, encode

#: the kind under which devices and modules are kept
DEVICE = "device"


class RegistryFile:
    """The file `path`, which need not be there."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log

    def devices(self) -> list[Device]:
        """What it says in the end, in the order of registration. Raises RegistryError and leaves it alone."""
        known: dict[tuple[str, str | None], Device] = {}
        try:
            for line in self._path.read_text(encoding="utf-8").splitlines():
                change = json.loads(line)
                if "removed" in change:
                    known.pop((change["removed"][0], change["removed"][1]), None)
                else:
                    device = Device.from_json(change["set"])
                    known[(device.device_id, device.module_id)] = device
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, IndexError) as wrong:
            # Only the kind of error: its text may quote the file, and the file holds keys.
            hint = "move the file away to start with an empty registry; it was not changed"
            raise RegistryError(f"cannot read the registry {self._path}: {type(wrong).__name__}", hint) from None
        return list(known.values())

    def read(self) -> Sequence[Change]:
        """Its devices as documents. Raises RegistryError and leaves it alone."""
        return [(DEVICE, device.client_id, encode(device.to_json())) for device in self.devices()]

    def retire(self, *, taken_over: bool) -> None:
        """Rename it, over nothing, now that its devices are elsewhere; say so if they are not. Raises StoreError."""
        if not taken_over:
            if self._path.exists():
                self._log.warning("%s is not read any more: devices are registered in hub.db beside it", self._path)
            return
        number = 0
        while (other := self._path.with_name(f"{self._path.name}.migrated{f'-{number}' if number else ''}")).exists():
            number += 1
        try:
            self._path.rename(other)
        except FileNotFoundError:
            return
        except OSError as wrong:
            hint = "move the file away: its devices are in the new database"
            raise StoreError(f"cannot rename the registry {self._path}: {wrong.strerror}", hint) from None
