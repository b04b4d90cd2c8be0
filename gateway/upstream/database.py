"""The stand-in's documents in one SQLite file, `hub.db`.

Rules: a change is in the file when `write` has returned, whatever becomes of the process; only `durability: full` adds
an fsync. A file that is damaged, foreign or newer is refused and never changed: its owner moves it away. One gateway
has it from `hold` to `release`; whatever is done before or afterwards has it for that moment.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.errors import StoreError
from gateway.store.sqlitefile import Checkpointer, FileLock, is_ours
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper, encode
from gateway.upstream.registryfile import RegistryFile

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4C464854  # "LFHT"; tells our file from any other SQLite database
_WHAT = "the database of IoT Hub"
# The numbers keep documents in the order in which their keys came.
_SCHEMA = f"""
CREATE TABLE document (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, key)
);
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={_SCHEMA_VERSION};
"""
_KEEP = (
    "INSERT INTO document (kind, key, body) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body"
)
_FORGET = "DELETE FROM document WHERE kind = ? AND key = ?"
LOAD = "SELECT key, body FROM document WHERE kind = ? AND key >= ? AND key < ? ORDER BY number"
_AFTER_ALL = "\U0010ffff"
_FALLBACK_CHECKPOINT_PAGES = 16_384  # 64 MiB of log; the checkpointer's thread is quicker


class _Connection:
    """What is open; apart from its owner, so that it can be closed when that is forgotten."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path, _WHAT)
        self.database: sqlite3.Connection | None = None
        self.checkpointer: Checkpointer | None = None

    def close(self) -> None:
        if self.checkpointer is not None:
            self.checkpointer.stop()
        if self.database is not None:
            self.database.close()
        self.lock.close()


class HubDatabase:
    """Keeper of documents in `path`, opened when it is first used; see gateway.upstream.keeper.Keeper.

    A new file takes over what `predecessor` has.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        predecessor: RegistryFile | None = None,
    ) -> None:
        self.path = path
        self._durability = durability
        self._predecessor = predecessor
        self._guard = threading.RLock()  # whoever drives a gateway from another thread may register devices
        self._held = False
        self._version = -1  # SQLite's count of what others have changed, while this is open
        self._missed = False  # whether it was not open for a while
        self._open: _Connection | None = None
        self._close: Callable[[], Any] | None = None

    def write(self, changes: Sequence[Change]) -> None:
        """One transaction; see Keeper."""
        if not changes:
            return
        with self._guard, self._having() as database:
            try:
                if len(changes) == 1:  # one statement is a transaction by itself
                    _make(database, changes[0])
                else:
                    with _transaction(database):
                        for change in changes:
                            _make(database, change)
            except sqlite3.Error as wrong:
                hint = "make room on the disk of --state"
                raise StoreError(f"IoT Hub cannot store the change in {self.path}: {wrong}", hint) from None

    def keep(self, kind: str, key: str, document: Any | None) -> None:
        """Write one document; see Keeper."""
        self.write([(kind, key, None if document is None else encode(document))])

    def load(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """Read; see Keeper."""
        with self._guard, self._having() as database:
            try:
                rows = database.execute(LOAD, bounds(kind, prefix)).fetchall()
                return {key: json.loads(body) for key, body in rows}
            except (sqlite3.Error, ValueError) as wrong:
                raise unusable(self.path, wrong) from None

    def hold(self) -> bool:
        """Lock; see Keeper."""
        with self._guard:
            if self._held:
                return False
            before = self._version
            connection = self._connection()
            connection.lock.take()
            try:
                self._version = _data_version(self._database(connection))
            except BaseException:
                connection.lock.give()
                raise
            changed = self._missed or self._version != before
            self._held, self._missed = True, False
            if connection.checkpointer is None:
                connection.checkpointer = Checkpointer(self.path)
            return changed

    def release(self) -> None:
        """Fold the log into the file, close and unlock it; see Keeper."""
        with self._guard:
            close, self._close, self._open = self._close, None, None
            self._held, self._missed = False, True
            self._version = -1
            if close is not None:
                close()

    @contextmanager
    def _having(self) -> Iterator[sqlite3.Connection]:
        if self._held and self._open is not None and self._open.database is not None:
            yield self._open.database
            return
        connection = self._connection()
        connection.lock.take()
        try:
            yield self._database(connection)
        finally:
            connection.lock.give()

    def _database(self, connection: _Connection) -> sqlite3.Connection:
        if connection.database is None:
            connection.database = self._connect()
            self._version = _data_version(connection.database)
        return connection.database

    def _connection(self) -> _Connection:
        if self._open is None:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._open = _Connection(self.path)
            except OSError as wrong:
                raise unusable(self.path, wrong) from None
            self._close = weakref.finalize(self, self._open.close)
        return self._open

    def _connect(self) -> sqlite3.Connection:
        found = is_there(self.path)
        documents = self._predecessor.read() if self._predecessor is not None and not found else ()
        try:
            # Made before SQLite opens it, so that nobody else can ever read the keys.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as wrong:
            raise unusable(self.path, wrong) from None
        try:
            if _is_new(database):
                _create(database, documents)
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={'FULL' if self._durability == 'full' else 'NORMAL'}",
                f"wal_autocheckpoint={_FALLBACK_CHECKPOINT_PAGES}",
            ):
                database.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.Error as wrong:
            database.close()
            raise unusable(self.path, wrong) from None
        if self._predecessor is not None:
            self._predecessor.retire(taken_over=not found)
        return database


def keeper_in(path: Path | None, registry: Path | None, durability: str, log: logging.Logger) -> Keeper:
    """The keeper of a gateway with a state folder, which takes over an old `registry`, or of one without."""
    if path is None:
        return ForgetfulKeeper()
    predecessor = None if registry is None else RegistryFile(registry, log)
    return HubDatabase(path, durability=durability, predecessor=predecessor)


def _create(database: sqlite3.Connection, documents: Sequence[Change]) -> None:
    """All at once and before there is a write-ahead log, so that the file itself says what it is."""
    database.execute("PRAGMA synchronous=FULL")
    with _transaction(database):
        for statement in filter(str.strip, _SCHEMA.split(";")):
            database.execute(statement)
        database.executemany(_KEEP, documents)


def is_there(path: Path) -> bool:
    """Whether there is a database. Raises StoreError for another file."""
    try:
        found = is_ours(path, _APPLICATION_ID, _SCHEMA_VERSION)
        log = path.with_name(f"{path.name}-wal")
        if not found and path.exists() and log.exists() and log.stat().st_size:
            raise unusable(path, "it is empty, while its write-ahead log is not")
    except (OSError, sqlite3.Error) as wrong:
        raise unusable(path, wrong) from None
    return found


def bounds(kind: str, prefix: str) -> tuple[str, str, str]:
    """What LOAD takes."""
    return kind, prefix, prefix + _AFTER_ALL


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            with suppress(sqlite3.Error):  # a full disk may refuse this too; SQLite has rolled back by then
                database.execute("ROLLBACK")
        raise


def _is_new(database: sqlite3.Connection) -> bool:
    """Whether nothing is in it; what a crash left half made SQLite has undone by now."""
    if database.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID:
        return False
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError("it is the database of another program")
    return True


def _make(database: sqlite3.Connection, change: Change) -> None:
    kind, key, body = change
    if body is None:
        database.execute(_FORGET, (kind, key))
    else:
        database.execute(_KEEP, (kind, key, body))


def _data_version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA data_version").fetchone()[0])


def unusable(path: Path, wrong: Exception | str) -> StoreError:
    """What is said of a file that cannot be used; nothing of its content, which has keys."""
    reason = wrong.strerror if isinstance(wrong, OSError) and wrong.strerror else wrong
    hint = "choose another --state folder, or move the file away to start without it; it was not changed"
    return StoreError(f"cannot use {_WHAT} {path}: {reason}", hint)
