"""Stacks that are programs: found on PATH or in the cache, run with a deadline, and gone afterwards.

Rule: a program gets a process group of its own, which is ended as a whole when its time is up; none outlives a probe.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from certs import Authority
from leafsim.stacks.base import Stack, Target, Verdict

_SECONDS_FOR_VERSION = 10.0
TIMEOUT = Verdict(False, "timeout", "no answer in time")
REFUSED = Verdict(False, "refused", "connection refused")


class Ended(NamedTuple):
    """What a program printed, and how it ended; `late` when it had to be stopped."""

    output: str
    errors: str
    code: int
    late: bool = False


class ProgramStack(Stack):
    """A stack that is a program on this machine."""

    @abstractmethod
    def program(self) -> Path | None:
        """Return where the program is, or None."""

    def available(self) -> str | None:
        """Return why not: it is not here, or does not run."""
        if self.program() is None:
            return self.missing()
        return None if self._version else f"{self.program()} does not run"

    def missing(self) -> str:
        """Say how the program is to be had."""
        return f"no `{self.name}` on PATH"

    def version(self) -> str:
        """Return its name and version."""
        return self._version

    @cached_property
    def _version(self) -> str:
        ended = run(self.version_command(), _SECONDS_FOR_VERSION)
        return "" if ended.code or ended.late else self.read_version(ended)

    @abstractmethod
    def version_command(self) -> Sequence[str | Path]:
        """Return the command that prints the version."""

    def read_version(self, ended: Ended) -> str:
        """Return the version that was printed."""
        return (ended.output or ended.errors).strip().splitlines()[0]


def run(command: Sequence[str | Path], timeout: float, text: str = "", **environment: str) -> Ended:
    """Run a program to its end, or to the end of its time."""
    try:
        process = subprocess.Popen(  # noqa: S603 - programs of the user's own machine, arguments from a Target
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C", **environment},
        )
    except OSError as error:
        return Ended("", error.strerror or str(error), 127)
    try:
        output, errors = process.communicate(text.encode(), timeout)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return Ended(_text(output), _text(errors), process.returncode, late=True)
    return Ended(_text(output), _text(errors), process.returncode)


def cache_folder() -> Path:
    """Return the folder for what stacks need once: LEAFGATE_STACKS, or leafgate/stacks in the user's cache."""
    if chosen := os.environ.get("LEAFGATE_STACKS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leafgate" / "stacks"


def source(name: str) -> Path:
    """Return the file of one of the small clients."""
    return Path(str(files("leafsim.stacks.programs").joinpath(name)))


def trust_file(target: Target) -> Path:
    """Return the PEM file to trust: for a leaf that trusts nothing one with a root that has signed nothing.

    Programs insist on a certificate in it.
    """
    return _nobody() if target.trust is None else Path(target.trust)


@cache
def _nobody() -> Path:
    handle, name = tempfile.mkstemp(prefix="leafgate-", suffix=".pem")
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(Authority(hostname="nobody.invalid", key="ec").chain().trust_pem)
    return Path(name)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
