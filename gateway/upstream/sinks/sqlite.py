"""A log of everything that has arrived, in one SQLite file beside the gateway's other state.

Rules: what `take` has returned for is there when the process is killed at any moment; `durability: full` adds an fsync.
One turn of the event loop is one row, in MessagePack, as in gateway.store.sqlite. The oldest rows go when there are too
many messages or bytes; the highest number stays. A file that is damaged, foreign or newer is refused and not changed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store.sqlitefile import Checkpointer, FileLock
from gateway.upstream.arrivals import Batch, Origin
from gateway.upstream.sinks.sink import History

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4C464152  # "LFAR"; tells our file from any other SQLite database
_SCHEMA = f"""
BEGIN;
CREATE TABLE arrived (last INTEGER PRIMARY KEY, batches BLOB NOT NULL);
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={_SCHEMA_VERSION};
COMMIT;
"""
_WHAT = "the log of what arrived"
_MAGIC = b"SQLite format 3\0"
_INSERT = "INSERT INTO arrived VALUES (?, ?)"
_READ = "SELECT batches FROM arrived WHERE last > ? ORDER BY last"
_LARGEST_ROW = 500  # messages; of the largest size they are 125 MiB, an eighth of what a row can hold
_TRIM_EVERY = 2_000  # messages
_FALLBACK_CHECKPOINT_PAGES = 16_384  # 64 MiB of log; the checkpointer's thread is quicker


class SqliteLog(History):
    """The log in `path`: the last `limit` messages, and no more than about `byte_limit` bytes."""

    def __init__(
        self, path: Path, *, limit: int = 1_000_000, byte_limit: int = 1 << 30, durability: str = "normal"
    ) -> None:
        self.path = path
        self.limit = limit
        self.byte_limit = byte_limit
        self._durability = durability
        self._last = 0
        self._trimmed = 0
        self._lock: FileLock | None = None
        self._checkpointer: Checkpointer | None = None
        self._database: sqlite3.Connection | None = None

    @property
    def last(self) -> int:
        """See History."""
        return self._last

    def open(self) -> None:
        """Open the file, or make it. Raises StoreError."""
        try:
            self._check_header()
            self._lock = FileLock(self.path, _WHAT)
            self._lock.take()
            # Made before SQLite opens it, so that nobody else can ever read the messages.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._last = self._trimmed = self._prepare(self._database)
        except (OSError, sqlite3.Error) as wrong:
            self.close()
            raise self._unusable(wrong) from None
        except StoreError:
            self.close()
            raise
        self._checkpointer = Checkpointer(self.path)

    def _check_header(self) -> None:
        """Refuse another file before SQLite touches it.

        The application id is at offset 68, the user version at 60 (sqlite.org, "Database File Format", 1.3).
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            header = file.read(100)
        application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
        if header and (len(header) < 100 or not header.startswith(_MAGIC)):
            raise self._unusable("file is not a database")
        if application == _APPLICATION_ID and version > _SCHEMA_VERSION:
            raise self._unusable(f"it was written by a newer leafgate (schema {version})")
        if header and application != _APPLICATION_ID and (application or version):
            raise self._unusable("it is the database of another program")

    def _prepare(self, database: sqlite3.Connection) -> int:
        """Make the table if it is not there; returns the highest number."""
        if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise self._unusable("it is the database of another program")
            database.executescript(_SCHEMA)
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={'FULL' if self._durability == 'full' else 'NORMAL'}",
            f"wal_autocheckpoint={_FALLBACK_CHECKPOINT_PAGES}",
        ):
            database.execute(f"PRAGMA {pragma}").fetchall()
        return int(database.execute("SELECT coalesce(max(last), 0) FROM arrived").fetchone()[0])

    def take(self, batches: Sequence[Batch]) -> None:
        """One transaction; see Sink."""
        rows = _rows(batches)
        database = self._opened()
        try:
            if len(rows) == 1:  # one statement is a transaction by itself
                database.execute(_INSERT, rows[0])
            else:
                database.execute("BEGIN")
                database.executemany(_INSERT, rows)
                database.execute("COMMIT")
            self._last = batches[-1].last
            if self._last - self._trimmed >= _TRIM_EVERY:
                self._trimmed = self._last
                self._trim(database)
        except sqlite3.Error as wrong:
            if database.in_transaction:
                database.rollback()
            raise StoreError(
                f"{_WHAT} cannot be written: {wrong}", f"make room on the disk of {self.path.parent}"
            ) from None

    def _trim(self, database: sqlite3.Connection) -> None:
        """Let the oldest rows go: what is beyond the limit, and an eighth at a time while the file is too large."""
        database.execute("DELETE FROM arrived WHERE last <= ?", (self._last - self.limit,))
        while self._bytes(database) > self.byte_limit:
            oldest = database.execute("SELECT min(last) FROM arrived").fetchone()[0]
            through = oldest + (self._last - oldest) // 8
            if through >= self._last:
                return
            database.execute("DELETE FROM arrived WHERE last <= ?", (through,))

    @staticmethod
    def _bytes(database: sqlite3.Connection) -> int:
        """How much of the file is in use; pages that are free are used again."""
        size, count, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (count - free))

    def read(self, after: int, through: int, limit: int) -> list[Batch]:
        """Read; see History."""
        found: list[Batch] = []
        count = 0
        try:
            for (packed,) in self._opened().execute(_READ, (after,)):
                for batch in map(_batch, msgpack.unpackb(packed)):
                    part = batch.part(max(0, after + 1 - batch.first), max(0, through + 1 - batch.first))
                    if len(part):
                        found.append(part)
                        count += len(part)
                    if count >= limit or batch.last >= through:
                        return found
        except (sqlite3.Error, ValueError, TypeError, IndexError) as wrong:
            raise self._unusable(wrong) from None
        return found

    def forget(self) -> None:
        """Drop everything; an empty row keeps the number. See History."""
        try:
            database = self._opened()
            database.execute("BEGIN")
            database.execute("DELETE FROM arrived")
            database.execute(_INSERT, (self._last, msgpack.packb([])))
            database.execute("COMMIT")
        except sqlite3.Error as wrong:
            raise StoreError(f"{_WHAT} cannot be emptied: {wrong}") from None

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        checkpointer, database, lock = self._checkpointer, self._database, self._lock
        self._checkpointer = self._database = self._lock = None
        if checkpointer is not None:
            checkpointer.stop()
        if database is not None:
            database.close()
        if lock is not None:
            lock.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"{_WHAT} is not open")
        return self._database

    def _unusable(self, wrong: Exception | str) -> StoreError:
        reason = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else wrong
        hint = "choose another --state folder, or move the file away; it was not changed"
        return StoreError(f"cannot use {_WHAT} {self.path}: {reason}", hint)


def _rows(batches: Sequence[Batch]) -> list[tuple[int, bytes]]:
    if sum(map(len, batches)) <= _LARGEST_ROW:
        return [(batches[-1].last, msgpack.packb([_packable(batch) for batch in batches]))]
    parts = (batch.part(at, at + _LARGEST_ROW) for batch in batches for at in range(0, len(batch), _LARGEST_ROW))
    return [(part.last, msgpack.packb([_packable(part)])) for part in parts]


def _packable(batch: Batch) -> tuple[Any, ...]:
    origins = [(*client, known.generation_id, known.authentication) for client, known in batch.origins.items()]
    return batch.first, batch.at, batch.source, origins, batch.messages


def _batch(packed: Sequence[Any]) -> Batch:
    first, at, source, origins, messages = packed
    known = {(device, module): Origin(generation, kind) for device, module, generation, kind in origins}
    return Batch(first, at, source, known, [Message(*fields) for fields in messages])
