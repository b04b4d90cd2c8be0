"""A store in one SQLite file: write-ahead log, one table per queue, one row per batch.

Rule: SQLite is only ever touched here and in `schema`. A batch is whatever arrived in one turn of the event loop, so
load itself makes the batches; there is no timer and no writer thread. A row holds its whole batch in MessagePack, which
costs a third of a row per message. How many messages wait is never counted: each row knows how many its queue has had,
and the queue how many of them are gone. Checkpoints, whose fsync would stall the loop, run in a background thread; the
automatic one is only the fallback when that thread cannot keep up.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgpack

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.store import UPSTREAM, schema
from gateway.store.room import Room
from gateway.store.sqlitefile import Checkpointer, FileLock

_READ = "SELECT messages FROM batch_{} WHERE last > ? ORDER BY last"
_NEWEST = "SELECT last, total FROM batch_{} ORDER BY last DESC LIMIT 1"
_OLDEST = "SELECT first, messages FROM batch_{} WHERE last > ? ORDER BY last LIMIT 1"
_SIZES = "SELECT coalesce(sum(size), 0) FROM batch_{} WHERE last <= ?"
_BETWEEN = "SELECT last, messages FROM batch_{} WHERE last >= ? AND first <= ? ORDER BY last"
_A_FEW = "SELECT max(last) FROM (SELECT last FROM batch_{} ORDER BY last LIMIT 32)"
_DELETE = "DELETE FROM batch_{} WHERE last <= ?"
_REWRITE = "UPDATE batch_{} SET messages = ?, size = ? WHERE last = ?"
_STAND = "UPDATE queue SET through = ?, gone = ?, part = ? WHERE id = ?"
_LARGEST_BATCH = 500  # messages; of the largest size they are 125 MiB, an eighth of what a row can hold
_ENOUGH = 1 << 22  # bytes after which no further row is read
_WHAT = "the message store"
_FALLBACK_CHECKPOINT_PAGES = 16_384  # 64 MiB of log


_Row = tuple[int, int, int, int, bytes]


@dataclass(slots=True)
class _Queue:
    """Where a queue stands; `part` of the messages of its oldest row are gone already."""

    id: int
    through: int = 0
    gone: int = 0
    part: int = 0
    total: int = 0


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
            self._lock.close()
            raise _unusable(path, wrong) from None
        try:
            self._prepare(durability)
        except (sqlite3.Error, ValueError, TypeError) as wrong:
            self._database.close()
            self._lock.close()
            raise _unusable(path, wrong) from None
        except StoreError:
            self._database.close()
            self._lock.close()
            raise
        self._room = Room(path, self._database)
        self._checkpointer = Checkpointer(path)

    def _prepare(self, durability: str) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version <= schema.VERSION:  # else nothing of it is to change
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={'FULL' if durability == 'full' else 'NORMAL'}",
                f"wal_autocheckpoint={_FALLBACK_CHECKPOINT_PAGES}",
                "secure_delete=OFF",  # else forgetting writes as much as storing did, which a full disk has no room for
            ):
                self._database.execute(f"PRAGMA {pragma}").fetchall()
        schema.prepare(self._database)
        self._queues = {
            name: _Queue(number, *stand)
            for name, number, *stand in self._database.execute("SELECT name, id, through, gone, part FROM queue")
        }
        for queue in self._queues.values():
            queue.total = max(self._newest(queue)[1], queue.gone)
        self._open(UPSTREAM)

    def next_sequence(self) -> int:
        """Read from the file; see Store."""
        # A number is never used twice, also when everything before it has been forgotten.
        return 1 + max(max(queue.through, self._newest(queue)[0]) for queue in self._queues.values())

    def _newest(self, queue: _Queue) -> tuple[int, int]:
        found: tuple[int, int] | None = self._database.execute(_NEWEST.format(queue.id)).fetchone()
        return found or (0, 0)

    def write(self, messages: Sequence[Message], queue: str = UPSTREAM) -> None:
        """One transaction; see Store."""
        stand = self._queues.get(queue)
        if stand is not None and len(messages) <= _LARGEST_BATCH:  # one statement is a transaction by itself
            total = stand.total + len(messages)
            row = _row(messages, total)
            try:
                self._room.take(len(row[-1]))
                self._database.execute(schema.INSERT.format(stand.id), row)
            except (sqlite3.Error, OSError) as wrong:
                raise _full("messages cannot be stored", wrong) from None
            stand.total = total
            return
        self.write_all({queue: messages})

    def write_all(self, batches: Mapping[str, Sequence[Message]]) -> None:
        """One transaction; see Store."""
        for queue in batches:
            self._open(queue)
        rows = [
            (self._queues[queue], row) for queue, messages in batches.items() for row in self._rows(queue, messages)
        ]
        try:
            self._room.take(sum(len(row[-1]) for _, row in rows))
        except (sqlite3.Error, OSError) as wrong:
            raise _full("messages cannot be stored", wrong) from None
        with self._transaction("messages cannot be stored"):
            for stand, row in rows:
                self._database.execute(schema.INSERT.format(stand.id), row)
        for queue, messages in batches.items():
            self._queues[queue].total += len(messages)

    def _rows(self, queue: str, messages: Sequence[Message]) -> Iterator[_Row]:
        total = self._queues[queue].total
        for start in range(0, len(messages), _LARGEST_BATCH):
            part = messages[start : start + _LARGEST_BATCH]
            total += len(part)
            yield _row(part, total)

    def read(self, after: int, limit: int, queue: str = UPSTREAM) -> list[Message]:
        """Read; see Store."""
        stand = self._queues.get(queue)
        found: list[Message] = []
        if stand is None:
            return found
        first, size = max(after, stand.through), 0
        try:
            with closing(self._database.execute(_READ.format(stand.id), (first,))) as rows:
                for (packed,) in rows:
                    messages = (Message(*fields) for fields in msgpack.unpackb(packed))
                    found += [message for message in messages if message.sequence > first]
                    size += len(packed)
                    if len(found) >= limit or (found and size >= _ENOUGH):
                        break
        except (sqlite3.Error, ValueError, TypeError) as wrong:
            raise _unusable(self.path, wrong) from None
        return found[:limit]

    def forget(self, through: int, queue: str = UPSTREAM) -> None:
        """Delete what is wholly behind; a batch that is only partly behind stays, and is read from there on."""
        stand = self._queues.get(queue)
        if stand is None or through <= stand.through:
            return
        try:
            self._forget(stand, through)
        except StoreError:  # on a full disk less at a time may do
            while stand.through < through:
                with suppress(sqlite3.Error):
                    self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._forget(stand, self._a_few_rows_on(stand, through))

    def _a_few_rows_on(self, stand: _Queue, through: int) -> int:
        """The last number of the oldest rows, or `through` if that is less."""
        try:
            (last,) = self._database.execute(_A_FEW.format(stand.id)).fetchone()
        except sqlite3.Error as wrong:
            raise _unusable(self.path, wrong) from None
        return through if last is None else min(last, through)

    def _forget(self, stand: _Queue, through: int) -> None:
        with self._transaction("messages cannot be deleted"):
            (size,) = self._database.execute(_SIZES.format(stand.id), (through,)).fetchone()
            self._database.execute(_DELETE.format(stand.id), (through,))
            part = self._part(stand, through)
            gone = stand.gone + size - stand.part + part
            self._database.execute(_STAND, (through, gone, part, stand.id))
        stand.through, stand.gone, stand.part = through, gone, part

    def _part(self, stand: _Queue, through: int) -> int:
        """How many messages of the oldest row are behind a number."""
        oldest = self._database.execute(_OLDEST.format(stand.id), (through,)).fetchone()
        if oldest is None or oldest[0] > through:
            return 0
        return sum(fields[0] <= through for fields in msgpack.unpackb(oldest[1]))

    def drop(self, numbers: AbstractSet[int], queue: str = UPSTREAM) -> None:
        """Write the rows anew without them; one without any stays until it is forgotten, for what it knows."""
        stand = self._queues.get(queue)
        if stand is None or not numbers:
            return
        gone = stand.gone
        with self._transaction("messages cannot be deleted"):
            rows = self._database.execute(_BETWEEN.format(stand.id), (min(numbers), max(numbers))).fetchall()
            for last, packed in rows:
                before = msgpack.unpackb(packed)
                kept = [fields for fields in before if fields[0] not in numbers]
                gone += len(before) - len(kept)
                if len(kept) < len(before):
                    self._database.execute(_REWRITE.format(stand.id), (msgpack.packb(kept), len(kept), last))
            self._database.execute(_STAND, (stand.through, gone, stand.part, stand.id))
        stand.gone = gone

    def queues(self) -> dict[str, int]:
        """What is known already; see Store."""
        return {name: queue.through for name, queue in self._queues.items()}

    def count(self, queue: str) -> int:
        """What is known already; see Store."""
        stand = self._queues.get(queue)
        return 0 if stand is None else stand.total - stand.gone

    def limit(self, size: int | None) -> None:
        """Nothing: Edge Hub's limit is for its store in memory alone."""

    def _open(self, queue: str) -> None:
        """Make a queue's table, once."""
        if queue in self._queues:
            return
        with self._transaction("a queue cannot be made"):
            self._database.execute("INSERT INTO queue (name, through) VALUES (?, 0)", (queue,))
            number = self._database.execute("SELECT id FROM queue WHERE name = ?", (queue,)).fetchone()[0]
            self._database.execute(schema.NEW_QUEUE.format(number))
        self._queues[queue] = _Queue(number)

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
        self._checkpointer.stop()
        self._database.close()
        self._lock.close()

    @contextmanager
    def _transaction(self, failure: str) -> Iterator[None]:
        try:
            self._database.execute("BEGIN")
            yield
            self._database.execute("COMMIT")
        except (sqlite3.Error, ValueError, TypeError) as wrong:
            if self._database.in_transaction:
                with suppress(sqlite3.Error):  # a full disk may refuse even this; SQLite has then rolled back itself
                    self._database.execute("ROLLBACK")
            raise _full(failure, wrong) from None


def _lock(path: Path) -> FileLock:
    """Keep other gateways away: two of them would give the same number to different messages."""
    try:
        lock = FileLock(path, _WHAT)
    except OSError as wrong:
        raise _unusable(path, wrong) from None
    try:
        lock.take()
    except StoreError:
        lock.close()
        raise
    return lock


def _row(messages: Sequence[Message], total: int) -> _Row:
    return messages[-1].sequence, messages[0].sequence, len(messages), total, msgpack.packb(messages)


def _full(failure: str, wrong: Exception) -> StoreError:
    return StoreError(f"{failure}: {wrong}", "make room on the disk of --state")


def _unusable(path: Path, wrong: Exception) -> StoreError:
    hint = "choose another --state folder, or move the file away; it was not changed"
    return StoreError(f"cannot use {_WHAT} {path}: {wrong}", hint)
