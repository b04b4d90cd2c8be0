"""A store in one SQLite file: write-ahead log, one table per queue, one row per batch.

Rule: SQLite is only ever touched here. A batch is whatever arrived in one turn of the event loop, so load itself makes
the batches; there is no timer and no writer thread. A row holds its whole batch in MessagePack, which costs a third of
a row per message. Checkpoints, whose fsync would stall the loop, run in a background thread; the automatic one is only
the fallback when that thread cannot keep up.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import msgpack

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store import UPSTREAM

_SCHEMA_VERSION = 3  # 1 had no sessions, 2 had one queue
_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (client_id TEXT PRIMARY KEY, subscriptions BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, through INTEGER NOT NULL);
"""
_NEW_QUEUE = "CREATE TABLE batch_{} (last INTEGER PRIMARY KEY, messages BLOB NOT NULL)"
_INSERT = "INSERT INTO batch_{} VALUES (?, ?)"
_READ = "SELECT messages FROM batch_{} WHERE last > ? ORDER BY last"
_HIGHEST = "SELECT coalesce(max(last), 0) FROM batch_{}"
_ONE_QUEUE = """
BEGIN;
INSERT INTO queue SELECT 1, '%s', through FROM forgotten;
ALTER TABLE batch RENAME TO batch_1;
DROP TABLE forgotten;
COMMIT;
"""  # from schema 2 to 3
_LARGEST_BATCH = 500  # messages; of the largest size they are 125 MiB, an eighth of what a row can hold
_CHECKPOINT_SECONDS = 0.5
_FALLBACK_CHECKPOINT_PAGES = 16_384  # 64 MiB of log


class SqliteStore:
    """Store in `path`; `full` durability adds an fsync per batch, which survives a power cut."""

    def __init__(self, path: Path, *, durability: str = "normal") -> None:
        self.path = path
        self._lock = _lock(path)
        try:
            # Made before SQLite opens it, so that nobody else can ever read the messages.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as wrong:
            os.close(self._lock)
            raise _unusable(path, wrong) from None
        try:
            self._prepare(durability)
            self.next_sequence()
        except sqlite3.Error as wrong:
            self._database.close()
            os.close(self._lock)
            raise _unusable(path, wrong) from None
        self._stop = threading.Event()
        self._checkpointer = threading.Thread(target=self._checkpoint, name="leafgate-checkpoint", daemon=True)
        self._checkpointer.start()

    def _prepare(self, durability: str) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer leafgate (schema {version})")
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={'FULL' if durability == 'full' else 'NORMAL'}",
            f"wal_autocheckpoint={_FALLBACK_CHECKPOINT_PAGES}",
        ):
            self._database.execute(f"PRAGMA {pragma}").fetchall()
        self._database.executescript(_SCHEMA)
        if version in (1, 2):
            self._database.executescript(_ONE_QUEUE % UPSTREAM)
        self._database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        self._ids = dict(self._database.execute("SELECT name, id FROM queue").fetchall())
        self._open(UPSTREAM)

    def next_sequence(self) -> int:
        """Read from the file; see Store."""
        # A number is never used twice, also when everything before it has been forgotten.
        highest = self._database.execute("SELECT max(through) FROM queue").fetchone()[0]
        for queue in self._ids.values():
            highest = max(highest, self._database.execute(_HIGHEST.format(queue)).fetchone()[0])
        return int(highest) + 1

    def write(self, messages: Sequence[Message], queue: str = UPSTREAM) -> None:
        """One transaction; see Store."""
        if len(messages) <= _LARGEST_BATCH and queue in self._ids:  # one statement is a transaction by itself
            try:
                self._database.execute(_INSERT.format(self._ids[queue]), _row(messages))
            except sqlite3.Error as wrong:
                raise _full("messages cannot be stored", wrong) from None
            return
        self.write_all({queue: messages})

    def write_all(self, batches: Mapping[str, Sequence[Message]]) -> None:
        """One transaction; see Store."""
        for queue in batches:
            self._open(queue)
        with self._transaction("messages cannot be stored"):
            for queue, messages in batches.items():
                insert = _INSERT.format(self._ids[queue])
                for start in range(0, len(messages), _LARGEST_BATCH):
                    self._database.execute(insert, _row(messages[start : start + _LARGEST_BATCH]))

    def read(self, after: int, limit: int, queue: str = UPSTREAM) -> list[Message]:
        """Read; see Store."""
        if queue not in self._ids:
            return []
        try:
            first = max(after, self._through(queue))
            batches = self._database.execute(_READ.format(self._ids[queue]), (first,))
            messages = (Message(*fields) for (packed,) in batches for fields in msgpack.unpackb(packed))
            return list(islice((message for message in messages if message.sequence > first), limit))
        except (sqlite3.Error, ValueError, TypeError) as wrong:
            raise _unusable(self.path, wrong) from None

    def forget(self, through: int, queue: str = UPSTREAM) -> None:
        """Delete what is wholly behind; a batch that is only partly behind stays, and is read from there on."""
        if queue not in self._ids:
            return
        with self._transaction("messages cannot be deleted"):
            self._database.execute(f"DELETE FROM batch_{self._ids[queue]} WHERE last <= ?", (through,))  # noqa: S608
            self._database.execute("UPDATE queue SET through = ? WHERE name = ?", (through, queue))

    def queues(self) -> dict[str, int]:
        """Read; see Store."""
        try:
            return dict(self._database.execute("SELECT name, through FROM queue").fetchall())
        except sqlite3.Error as wrong:
            raise _unusable(self.path, wrong) from None

    def count(self, queue: str) -> int:
        """Read and count; see Store."""
        return len(self.read(0, sys.maxsize, queue))

    def _through(self, queue: str) -> int:
        return int(self._database.execute("SELECT through FROM queue WHERE name = ?", (queue,)).fetchone()[0])

    def _open(self, queue: str) -> None:
        """Make a queue's table, once."""
        if queue in self._ids:
            return
        with self._transaction("a queue cannot be made"):
            self._database.execute("INSERT INTO queue (name, through) VALUES (?, 0)", (queue,))
            number = self._database.execute("SELECT id FROM queue WHERE name = ?", (queue,)).fetchone()[0]
            self._database.execute(_NEW_QUEUE.format(number))
        self._ids[queue] = number

    def save_session(self, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """One row; see Store."""
        with self._transaction("a session cannot be stored"):
            self._database.execute(
                "INSERT OR REPLACE INTO session VALUES (?, ?)", (client_id, msgpack.packb(subscriptions))
            )

    def drop_session(self, client_id: str) -> None:
        """Delete; see Store."""
        with self._transaction("a session cannot be deleted"):
            self._database.execute("DELETE FROM session WHERE client_id = ?", (client_id,))

    def sessions(self) -> dict[str, dict[str, int]]:
        """Read; see Store."""
        try:
            rows = self._database.execute("SELECT client_id, subscriptions FROM session")
            return {client_id: msgpack.unpackb(packed) for client_id, packed in rows}
        except (sqlite3.Error, ValueError, TypeError) as wrong:
            raise _unusable(self.path, wrong) from None

    def close(self) -> None:
        """Stop the checkpoints, fold the log into the file and close it."""
        self._stop.set()
        self._checkpointer.join()
        self._database.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self, failure: str) -> Iterator[None]:
        try:
            self._database.execute("BEGIN")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as wrong:
            if self._database.in_transaction:
                with suppress(sqlite3.Error):  # a full disk may refuse even this; SQLite has then rolled back itself
                    self._database.execute("ROLLBACK")
            raise _full(failure, wrong) from None

    def _checkpoint(self) -> None:
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            while not self._stop.wait(_CHECKPOINT_SECONDS):
                database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            # The automatic checkpoint in the writer takes over; nothing is lost, only some latency.
            return
        finally:
            database.close()


def _lock(path: Path) -> int:
    """Keep other gateways away: two of them would give the same number to different messages."""
    try:
        descriptor = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as wrong:
        raise _unusable(path, wrong) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        hint = "stop the other gateway, or give this one its own --state folder"
        raise StoreError(f"the message store {path} is in use by another gateway", hint) from None
    return descriptor


def _row(messages: Sequence[Message]) -> tuple[int, bytes]:
    return messages[-1].sequence, msgpack.packb(messages)


def _full(failure: str, wrong: sqlite3.Error) -> StoreError:
    return StoreError(f"{failure}: {wrong}", "make room on the disk of --state")


def _unusable(path: Path, wrong: Exception) -> StoreError:
    hint = "choose another --state folder, or move the file away; it was not changed"
    return StoreError(f"cannot use the message store {path}: {wrong}", hint)
