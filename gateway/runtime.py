"""Where the running gateways of this user are written down, so that commands find them without being told.

Rule: a file is its gateway's as long as that holds the lock on it, so that a file left by a process that was killed is
recognised whatever has its number now. The folder is private: `$XDG_RUNTIME_DIR/leafgate`, or the user's cache.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def folder() -> Path:
    """Where they are written down; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "leafgate"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leafgate" / "run"


@contextmanager
def announced(facts: Mapping[str, Any]) -> Iterator[None]:
    """Write a gateway down as long as this lasts; where that is not possible, nobody finds it, and that is all."""
    try:
        path, descriptor = _write(facts)
    except (OSError, RuntimeError):  # no home, no right to write there, no locks on that file system
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def running() -> list[dict[str, Any]]:
    """What is written down of the gateways that run, the newest first; what is left of others is removed."""
    found: list[tuple[int, dict[str, Any]]] = []
    with suppress(OSError, RuntimeError):
        for path in folder().glob("*.json"):
            facts = _read(path)
            if facts is not None:
                found.append(facts)
    return [facts for _, facts in sorted(found, key=lambda each: each[0], reverse=True)]


def _write(facts: Mapping[str, Any]) -> tuple[Path, int]:
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder() / f"{os.getpid()}-{secrets.token_hex(4)}.json"
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps(facts).encode())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return path, descriptor


def _read(path: Path) -> tuple[int, dict[str, Any]] | None:
    """When it was written, and what; None for what nobody holds, which is removed, or cannot be read."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            facts = json.load(file)
            if isinstance(facts, dict):
                return os.fstat(file.fileno()).st_mtime_ns, facts
        else:
            path.unlink(missing_ok=True)
    return None
