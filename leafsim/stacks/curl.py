"""`curl`, with whatever TLS library it was built on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, Ended, ProgramStack, run, trust_file
from leafsim.tls import SYSTEM

_SAID = re.compile(r"^curl: \((?P<code>\d+)\) (?P<message>.*)$", re.MULTILINE)
_REFUSED, _LATE = 7, 28


class CurlStack(ProgramStack):
    """The `curl` program; its codes are curl's own (60: the certificate is not accepted)."""

    name = "curl"

    def program(self) -> Path | None:
        """Look on PATH."""
        found = shutil.which("curl")
        return Path(found) if found else None

    def version_command(self) -> Sequence[str]:
        """Ask for the version."""
        return ["curl", "--version"]

    def read_version(self, ended: Ended) -> str:
        """Return curl's and its TLS library's."""
        words = ended.output.split()
        library = next((word for word in words if word.startswith(("OpenSSL/", "GnuTLS/", "LibreSSL/"))), "")
        return f"curl {words[1]} {library}".strip()

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Ask for a page; what follows on a handshake does not matter."""
        name = f"[{target.name}]" if ":" in target.name else target.name
        host = f"[{target.host}]" if ":" in target.host else target.host
        trust = [] if target.trust == SYSTEM else ["--cacert", str(trust_file(target))]
        ended = run(
            ["curl", "--silent", "--show-error", "--output", "/dev/null", "--noproxy", "*", *trust,
             "--max-time", f"{timeout:g}", "--write-out", "%{time_appconnect}",
             "--connect-to", f"{name}:{target.port}:{host}:{target.port}", f"https://{name}:{target.port}/"],
            timeout + 1,
        )  # fmt: skip
        said = _SAID.search(ended.errors)
        if not ended.late and float(ended.output or 0) > 0:
            return Verdict(True)
        if said is None or int(said["code"]) == _LATE:
            return TIMEOUT
        code = int(said["code"])
        return REFUSED if code == _REFUSED else Verdict(False, f"curl {code}", said["message"])
