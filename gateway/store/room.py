"""How much of the disk a message store may use.

Rule: so much is left that what is stored can be let go of again. A file with a write-ahead log has to grow before it
can shrink: forgetting writes to the log, and the log is reclaimed only once all of it has been copied into the file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

_RESERVE = 1 << 20  # bytes that are left while the file grows
_LAST = 1 << 18  # bytes that are left even while it has pages to be used again: for forgetting and for sessions
_PAGE_OVERHEAD = 8_192  # a row that ends within a page, and the pages above it


class Room:
    """The room on the disk of the database at `path`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._database = database
        self._left = 0  # bytes that may be written before one has to look again

    def take(self, size: int) -> None:
        """Make sure that this many bytes can be written. Raises sqlite3.OperationalError when they cannot."""
        wanted = 2 * size + _PAGE_OVERHEAD
        if wanted > self._left:
            self._look(wanted)
        self._left -= wanted

    def _look(self, wanted: int) -> None:
        self._left = self._free() // 4  # others write, too
        if wanted <= self._left:
            return
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        free = self._free()
        if wanted > free:
            raise sqlite3.OperationalError("disk is full but for what is kept to let go of messages")
        self._left = max(free // 4, wanted)

    def _free(self) -> int:
        """Bytes that may be written, so that the log can still be copied into the file afterwards."""
        disk = os.statvfs(self._path.parent)
        if not disk.f_blocks:  # a file system that does not tell
            return sys.maxsize
        free = disk.f_bavail * disk.f_frsize
        log = self._log.stat().st_size if self._log.exists() else 0
        pages = self._database.execute("PRAGMA freelist_count").fetchone()[0]
        again = int(pages * self._database.execute("PRAGMA page_size").fetchone()[0])
        growing = (free - _RESERVE - max(0, log - again)) // 2
        return max(growing, min(free - _LAST, again - log))
