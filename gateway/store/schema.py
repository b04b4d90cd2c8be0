"""The tables of a message store's file, and how files of earlier versions become what they are now.

Rule: a file is carried over in one transaction, or left as it is.
"""

from __future__ import annotations

import sqlite3

import msgpack

from gateway.store import UPSTREAM

VERSION = 4  # 1 had no sessions, 2 had one queue, 3 did not know how many messages it had
_TABLES = (
    "CREATE TABLE IF NOT EXISTS session (client_id TEXT PRIMARY KEY, subscriptions BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, through INTEGER NOT NULL,"
    " gone INTEGER NOT NULL DEFAULT 0, part INTEGER NOT NULL DEFAULT 0)",
)
#: one row per batch: numbers of its first and last message, how many it has, how many the queue has had with it.
#: The messages come last, so that nobody has to read over them.
NEW_QUEUE = (
    "CREATE TABLE batch_{} (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, size INTEGER NOT NULL,"
    " total INTEGER NOT NULL, messages BLOB NOT NULL)"
)
INSERT = "INSERT INTO batch_{} VALUES (?, ?, ?, ?, ?)"


def prepare(database: sqlite3.Connection) -> None:
    """Make or carry over the tables. Raises sqlite3.Error, or ValueError for rows that cannot be read."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise sqlite3.DatabaseError(f"it was written by a newer leafgate (schema {version})")
    if version == VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        if version in (1, 2):
            _name_the_queue(database)
        if version in (1, 2, 3):
            _count(database)
        for table in _TABLES:
            database.execute(table)
        database.execute(f"PRAGMA user_version={VERSION}")
        database.execute("COMMIT")
    except (sqlite3.Error, ValueError, TypeError):
        database.execute("ROLLBACK")
        raise


def _name_the_queue(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, through INTEGER NOT NULL)")
    database.execute("INSERT INTO queue SELECT 1, ?, through FROM forgotten", (UPSTREAM,))
    database.execute("ALTER TABLE batch RENAME TO batch_1")
    database.execute("DROP TABLE forgotten")


def _count(database: sqlite3.Connection) -> None:
    for column in ("gone", "part"):
        database.execute(f"ALTER TABLE queue ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    for queue, through in database.execute("SELECT id, through FROM queue").fetchall():
        database.execute(f"ALTER TABLE batch_{queue} RENAME TO earlier")
        database.execute(NEW_QUEUE.format(queue))
        total = part = 0
        for last, packed in database.execute("SELECT last, messages FROM earlier ORDER BY last"):
            numbers = [fields[0] for fields in msgpack.unpackb(packed)]
            part += sum(number <= through for number in numbers)
            total += len(numbers)
            database.execute(INSERT.format(queue), (last, numbers[0], len(numbers), total, packed))
        database.execute("DROP TABLE earlier")
        database.execute("UPDATE queue SET gone = ?, part = ? WHERE id = ?", (part, part, queue))
