"""A log of everything that has arrived, in one SQLite file beside the gateway's other state.

Rules: what was taken is written a fraction of a second later, many messages in a row, in MessagePack as in
gateway.store.sqlite; a transaction for each batch would cost as much as storing it a second time. Until `flush` has
returned, the gateway's own store has the messages, and sends them again after a crash. Numbers are reserved before they
are given, so that a crash leaves a gap and never a number that means two messages. The oldest rows go when there are
too many messages or bytes. A file that is damaged, foreign or newer is refused and not changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store.sqlitefile import Checkpointer, FileLock, is_ours
from gateway.upstream.arrivals import Batch, Origin
from gateway.upstream.sinks.sink import History

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4C464152  # "LFAR"; tells our file from any other SQLite database
_SCHEMA = f"""
BEGIN;
CREATE TABLE arrived (last INTEGER PRIMARY KEY, batches BLOB NOT NULL);
CREATE TABLE numbers (reserved INTEGER NOT NULL, forgotten INTEGER NOT NULL);
INSERT INTO numbers VALUES (0, 0);
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={_SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - nobody's text is in it
_WHAT = "the log of what arrived"
_INSERT = "INSERT INTO arrived VALUES (?, ?)"
_LAST = "SELECT coalesce(max(last), 0) FROM arrived"
_RESERVED = "SELECT reserved FROM numbers"
_READ = "SELECT batches FROM arrived WHERE last > ? ORDER BY last"
_LARGEST_ROW = 500  # messages; of the largest size they are 125 MiB, an eighth of what a row can hold
_LARGEST_ROW_BYTES = 1 << 20
_FLUSH_SECONDS = 0.2
_RETRY_SECONDS = 5.0  # while it cannot be written
_RESERVE = 10_000  # numbers at a time
_TRIM_EVERY = 2_000  # messages
_FALLBACK_CHECKPOINT_PAGES = 16_384  # 64 MiB of log; the checkpointer's thread is quicker


class SqliteLog(History):
    """The log in `path`: the last `limit` messages, and no more than about `byte_limit` bytes."""

    def __init__(
        self,
        path: Path,
        *,
        limit: int = 1_000_000,
        byte_limit: int = 1 << 30,
        durability: str = "normal",
        log: logging.Logger | None = None,
    ) -> None:
        self.path = path
        self.limit = limit
        self.byte_limit = byte_limit
        self._durability = durability
        self._log = log or logging.getLogger(__name__)
        self._last = self._reserved = self._trimmed = self._forgotten = 0
        self._pending: list[Batch] = []
        self._pending_messages = self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lock: FileLock | None = None
        self._checkpointer: Checkpointer | None = None
        self._database: sqlite3.Connection | None = None

    @property
    def last(self) -> int:
        """See History."""
        return self._last

    @property
    def forgotten(self) -> int:
        """See History."""
        return self._forgotten

    def open(self) -> None:
        """Open the file, or make it. Raises StoreError."""
        self._pending = []  # what could not be written at the end of an earlier life is sent again
        self._pending_messages = self._pending_bytes = 0
        try:
            is_ours(self.path, _APPLICATION_ID, _SCHEMA_VERSION)
            self._lock = FileLock(self.path, _WHAT)
            self._lock.take()
            # Made before SQLite opens it, so that nobody else can ever read the messages.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._last = self._reserved = self._trimmed = self._prepare(self._database)
            self._forgotten = int(self._database.execute("SELECT forgotten FROM numbers").fetchone()[0])
        except (OSError, sqlite3.Error) as wrong:
            self.close()
            raise self._unusable(wrong) from None
        except StoreError:
            self.close()
            raise
        self._checkpointer = Checkpointer(self.path)

    def _prepare(self, database: sqlite3.Connection) -> int:
        """Make the tables if they are not there; returns the highest number that may have been given."""
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
        return max(int(database.execute(query).fetchone()[0]) for query in (_LAST, _RESERVED))

    def take(self, batch: Batch) -> None:
        """Take a batch, to be written soon; see Sink."""
        if self._pending_messages >= _LARGEST_ROW or self._pending_bytes >= _LARGEST_ROW_BYTES:
            self.flush()
        if batch.last > self._reserved:
            self._reserve(batch.last + _RESERVE)
        before, self._last = self._last, batch.last
        self._pend(batch)
        if self._timer is not None:
            return
        try:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._ring)
        except RuntimeError:  # no loop, so nobody would ring
            try:
                self.flush()
            except StoreError:
                self._last = before
                self._pend(self._pending.pop(), -1)
                raise

    def _pend(self, batch: Batch, sign: int = 1) -> None:
        """Let a batch wait, or (-1) no more."""
        self._pending_messages += sign * len(batch)
        self._pending_bytes += sign * batch.size
        if sign > 0:
            self._pending.append(batch)

    def _ring(self) -> None:
        self._timer = None
        with self._telling():
            self.flush()
        if self._pending:
            self._timer = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._ring)

    def flush(self) -> None:
        """Write what was taken, in one transaction. Raises StoreError, and tries again the next time."""
        if not self._pending:
            return
        rows = _rows(self._pending, self._pending_messages, self._pending_bytes)
        with self._writing() as database:
            if len(rows) == 1:  # one statement is a transaction by itself
                database.execute(_INSERT, rows[0])
            else:
                database.execute("BEGIN")
                database.executemany(_INSERT, rows)
                database.execute("COMMIT")
        self._pending = []
        self._pending_messages = self._pending_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._last - self._trimmed >= _TRIM_EVERY:
            with self._writing() as database:
                self._trim(database)

    def _reserve(self, through: int) -> None:
        """From here on a number up to this one may have been given. Raises StoreError."""
        with self._writing() as database:
            database.execute("UPDATE numbers SET reserved = ?", (through,))
        self._reserved = through

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        database = self._opened()
        try:
            yield database
        except sqlite3.Error as wrong:
            if database.in_transaction:
                with suppress(sqlite3.Error):  # a full disk may refuse even this; SQLite has then rolled back itself
                    database.execute("ROLLBACK")
            hint = f"make room on the disk of {self.path.parent}"
            raise StoreError(f"{_WHAT} cannot be written: {wrong}", hint) from None

    def _trim(self, database: sqlite3.Connection) -> None:
        """Let the oldest rows go: what is beyond the limit, and an eighth at a time while the file is too large."""
        self._trimmed = self._last
        self._drop(database, self._last - self.limit)
        while self._bytes(database) > self.byte_limit:
            oldest = database.execute("SELECT min(last) FROM arrived").fetchone()[0]
            through = oldest + (self._last - oldest) // 8
            if through >= self._last:
                return
            self._drop(database, through)

    def _drop(self, database: sqlite3.Connection, through: int) -> None:
        """Delete the rows that end with this number or before."""
        last = database.execute("SELECT max(last) FROM arrived WHERE last <= ?", (through,)).fetchone()[0]
        if last is not None:
            database.execute("BEGIN")
            database.execute("DELETE FROM arrived WHERE last <= ?", (last,))
            database.execute("UPDATE numbers SET forgotten = ?", (last,))
            database.execute("COMMIT")
            self._forgotten = last

    @staticmethod
    def _bytes(database: sqlite3.Connection) -> int:
        """How much of the file is in use; pages that are free are used again."""
        size, count, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (count - free))

    def read(self, after: int, through: int, limit: int) -> list[Batch]:
        """Read; see History."""
        self.flush()
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
        """Drop everything; see History."""
        with self._writing() as database:
            self._drop(database, self._last)
        self._pending = []
        self._pending_messages = self._pending_bytes = 0

    def close(self) -> None:
        """Write what is left, fold the write-ahead log into the file and close it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        checkpointer, database, lock = self._checkpointer, self._database, self._lock
        if checkpointer is not None:  # it was open
            with self._telling():
                self.flush()
                self._reserve(self._last)
            checkpointer.stop()
        self._checkpointer = self._database = self._lock = None
        if database is not None:
            database.close()
        if lock is not None:
            lock.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._log.error("%s", error.message)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"{_WHAT} is not open")
        return self._database

    def _unusable(self, wrong: Exception | str) -> StoreError:
        reason = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else wrong
        hint = "choose another --state folder, or move the file away; it was not changed"
        return StoreError(f"cannot use {_WHAT} {self.path}: {reason}", hint)


def _rows(batches: Sequence[Batch], messages: int, size: int) -> list[tuple[int, bytes]]:
    if messages <= _LARGEST_ROW and size <= 2 * _LARGEST_ROW_BYTES:
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
