"""Running the `leafgate` command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import leafgate as front_door

COMMAND = (sys.executable, "-m", "leafgate")
# What a user's shell may have set must not change a test.
OURS = ("LEAFGATE_", "SSL_CERT_", "NODE_EXTRA_", "NO_COLOR")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
# The defaults, 443, 8443 and 9600, are one port for all tests that run at the same time.
CLEAN |= dict.fromkeys(("LEAFGATE_HTTPS_PORT", "LEAFGATE_HUB_PORT", "LEAFGATE_METRICS_PORT"), "0")


def leafgate(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, env={**CLEAN, **(env or {})})


def inside(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command within this process, which is quicker; for commands that end by themselves."""
    words = [str(word) for word in arguments]
    code = front_door.main(words)
    output = capsys.readouterr()
    return subprocess.CompletedProcess(words, code, output.out, output.err)


@contextmanager
def running(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run the command beside the test; it is gone afterwards, and so are its temporary folders."""
    words = [*COMMAND, *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env={**CLEAN, **(env or {})})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
