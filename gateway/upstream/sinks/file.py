"""Everything that arrives as JSON lines in a file that is turned over when it is full.

Rule: a line is whole or not there; messages are lines of the feed's form (gateway.upstream.feed). `FILE` is the newest,
`FILE.1` the one before.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from gateway.errors import StoreError
from gateway.upstream.arrivals import Batch
from gateway.upstream.event import as_event
from gateway.upstream.sinks.sink import SinkError


class JsonLinesFile:
    """Writes to `path`; at most `count` files of at most `size` bytes (a longer line has a file to itself)."""

    def __init__(self, path: str | Path, size: int | str = 10 << 20, count: int | str = 5) -> None:
        self.path = Path(path).absolute()
        self.size = int(size)
        self.count = int(count)
        if self.size < 1 or self.count < 1:
            raise ValueError("size and count are at least 1")
        self._descriptor: int | None = None
        self._length = 0

    def open(self) -> None:
        """Go on behind what is in the file, or make it. Raises SinkError."""
        try:
            self._descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
            self._length = os.fstat(self._descriptor).st_size
            if self._length and os.pread(self._descriptor, 1, self._length - 1) != b"\n":
                self._write(b"\n")  # a line that a power cut has torn ends here
        except OSError as wrong:
            raise SinkError(f"cannot write {self.path}: {wrong.strerror}", "choose another file") from None

    def take(self, batch: Batch) -> None:
        """Append; see Sink."""
        try:
            for text in self._texts(batch):
                if self._length and self._length + len(text) > self.size:
                    self._turn_over()
                self._write(text)
        except OSError as wrong:
            hint = f"make room on the disk of {self.path.parent}"
            raise StoreError(f"cannot write {self.path}: {wrong.strerror}", hint) from None

    def _texts(self, batch: Batch) -> list[bytes]:
        """Lines, as many together as fit into one file."""
        texts: list[bytes] = []
        lines: list[bytes] = []
        length = self._length
        for message in batch:
            line = json.dumps(as_event(message), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            if lines and length + len(line) > self.size:
                texts.append(b"".join(lines))
                lines, length = [], 0
            lines.append(line)
            length += len(line)
        return [*texts, b"".join(lines)]

    def _write(self, text: bytes) -> None:
        assert self._descriptor is not None
        left = memoryview(text)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._length)
            raise
        self._length += len(text)

    def _turn_over(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, self.count))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        if self.count == 1:
            self.path.unlink()
        self.close()
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        self._length = 0

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
