"""Java: JSSE, started once for any number of handshakes, since its start takes most of the time."""

from __future__ import annotations

import select
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, Ended, ProgramStack, source
from leafsim.tls import SYSTEM

_SECONDS_TO_START = 30.0


class JavaStack(ProgramStack):
    """The `java` program, version 11 or later, running a single source file."""

    name = "java"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def program(self) -> Path | None:
        """Look on PATH."""
        found = shutil.which("java")
        return Path(found) if found else None

    def missing(self) -> str:
        """Name the package."""
        return "no `java` on PATH (Debian: default-jdk-headless)"

    def version_command(self) -> Sequence[str]:
        """Ask for the version."""
        return ["java", "-version"]

    def read_version(self, ended: Ended) -> str:
        """Return the number between the quotes."""
        return f"Java {ended.errors.split(chr(34))[1]} (JSSE)"

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Send one line, read one line."""
        with self._one_at_a_time:
            return self._ask(target, timeout)

    def _ask(self, target: Target, timeout: float) -> Verdict:
        trust = SYSTEM if target.trust == SYSTEM else str(target.trust or "")
        process = self._running()
        if process is None:
            return Verdict(False, None, "java does not run a source file: a JDK is needed, a JRE is not enough")
        asked = (target.host, str(target.port), target.name, trust, str(int(timeout * 1000)))
        assert process.stdin is not None
        try:
            process.stdin.write("\t".join(asked) + "\n")
            process.stdin.flush()
        except OSError:
            self.close()
            return Verdict(False, None, "java has ended")
        answer = self._line(process, timeout + 2)
        if answer is None:
            self.close()
            return TIMEOUT
        if answer == "ok":
            return Verdict(True)
        if "Connection refused" in answer:
            return REFUSED
        return TIMEOUT if "timed out" in answer else Verdict(False, None, answer)

    def close(self) -> None:
        """End the program; the next attempt starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _running(self) -> subprocess.Popen[str] | None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(  # noqa: S603 - our own source in the user's own Java
                ["java", str(source("Probe.java"))],  # noqa: S607 - the one on PATH is what is asked for
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
            if self._line(self._process, _SECONDS_TO_START) is None:
                self.close()
        return self._process

    @staticmethod
    def _line(process: subprocess.Popen[str], timeout: float) -> str | None:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        return process.stdout.readline().rstrip("\n") or None if ready else None
