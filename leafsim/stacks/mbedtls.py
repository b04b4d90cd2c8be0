"""Mbed TLS, as small devices have it, through the package python-mbedtls."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, Ended, ProgramStack, run, source
from leafsim.tls import SYSTEM


class MbedtlsStack(ProgramStack):
    """python-mbedtls in a process of its own."""

    name = "mbedtls"

    def program(self) -> Path | None:
        """This Python, when it has the package."""
        try:
            version("python-mbedtls")
        except PackageNotFoundError:
            return None
        return Path(sys.executable)

    def missing(self) -> str:
        """Name the package."""
        return "python-mbedtls is not installed (pip install leafgate[stacks])"

    def version_command(self) -> Sequence[str]:
        """Ask the library."""
        return [sys.executable, "-c", "import mbedtls.version as v; print(v.version)"]

    def read_version(self, ended: Ended) -> str:
        """Return the library's number."""
        return ended.output.strip()

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Run one handshake and end it when its time is up."""
        if target.trust == SYSTEM:
            return Verdict(False, "system", "Mbed TLS has no store of the system; give a file")
        trust = str(target.trust or "")
        ended = run(
            [sys.executable, source("mbedtls_probe.py"), target.host, str(target.port), target.name, trust], timeout
        )
        if ended.late or not ended.output:
            return TIMEOUT if ended.late else Verdict(False, None, ended.errors.strip()[-200:])
        answer = json.loads(ended.output)
        if answer["ok"]:
            return Verdict(True)
        return REFUSED if "Connection refused" in answer["message"] else Verdict(False, None, answer["message"])
