"""What every SQLite file of a gateway needs: one gateway at a time, and checkpoints beside the event loop."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from pathlib import Path

from gateway.errors import StoreError

_CHECKPOINT_SECONDS = 0.5
_MAGIC = b"SQLite format 3\0"


def is_ours(path: Path, application: int, newest: int) -> bool:
    """Whether there is a database of ours, told by its first bytes before SQLite touches it; False for an empty file.

    `application` is our application id, `newest` the highest schema version that is known. Raises
    sqlite3.DatabaseError with the reason for any other file, OSError for one that cannot be read. The application id
    is at offset 68, the user version at 60 (sqlite.org, "Database File Format", 1.3).
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return False
    if header and (len(header) < 100 or not header.startswith(_MAGIC)):
        raise sqlite3.DatabaseError("file is not a database")
    found, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if found == application and version > newest:
        raise sqlite3.DatabaseError(f"it was written by a newer leafgate (schema {version})")
    if (found or version) and found != application:
        raise sqlite3.DatabaseError("it is the database of another program")
    return bool(header)


class FileLock:
    """Keeps other gateways away from `path`, which errors call `what`; gone with the process in any case."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._descriptor = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)

    def take(self) -> None:
        """Lock it. Raises StoreError while another gateway has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "stop the other gateway, or give this one its own --state folder"
            raise StoreError(f"{self._what} {self._path} is in use by another gateway", hint) from None

    def give(self) -> None:
        """Unlock it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unlock it for good."""
        os.close(self._descriptor)


class Checkpointer:
    """Folds a write-ahead log into its file in a thread: the fsync of a checkpoint would stall the event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leafgate-checkpoint", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            while not self._stop.wait(_CHECKPOINT_SECONDS):
                database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            # The automatic checkpoint in the writer takes over; nothing is lost, only some latency.
            return
        finally:
            database.close()
