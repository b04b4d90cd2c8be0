"""A small file system of its own, to be filled."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(folder, size):
    """Mount a file system of `size` bytes at `folder`; where that is not allowed the test is skipped and says so."""
    folder.mkdir()
    program = shutil.which("mount")
    made = program and subprocess.run(
        [program, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if not made or made.returncode:
        pytest.skip(f"no file system can be mounted: {made.stderr.strip() if made else 'there is no mount(8)'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    """Write a file until the disk has no room at all."""
    with path.open("wb", buffering=0) as file:
        block = 1 << 16
        while block:
            try:
                file.write(bytes(block))
            except OSError:
                block //= 2
