"""`gnutls-cli`: GnuTLS, as many Linux programs have it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, ProgramStack, run, trust_file
from leafsim.tls import SYSTEM

_STATUS = re.compile(r"^- (Status: The certificate is NOT trusted\..*)$", re.MULTILINE)
_FAILED = re.compile(r"^(\*\*\* .*)$", re.MULTILINE)


class GnutlsStack(ProgramStack):
    """The `gnutls-cli` program."""

    name = "gnutls"

    def program(self) -> Path | None:
        """Look on PATH."""
        found = shutil.which("gnutls-cli")
        return Path(found) if found else None

    def missing(self) -> str:
        """Name the package."""
        return "no `gnutls-cli` on PATH (Debian: gnutls-bin)"

    def version_command(self) -> Sequence[str]:
        """Ask for the version."""
        return ["gnutls-cli", "--version"]

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Run it with an empty standard input, which ends it after the handshake."""
        trust = [] if target.trust == SYSTEM else ["--x509cafile", str(trust_file(target))]
        ended = run(
            ["gnutls-cli", *trust, "--sni-hostname", target.name, "--verify-hostname", target.name,
             "--port", str(target.port), target.host],
            timeout,
        )  # fmt: skip
        everything = ended.output + ended.errors
        if ended.late:
            return TIMEOUT
        if "Handshake was completed" in everything:
            return Verdict(True)
        said = [*_STATUS.findall(everything), *_FAILED.findall(everything)]
        if "Connection refused" in everything:
            return REFUSED
        return Verdict(False, None, "; ".join(one.strip() for one in said) or everything.strip().splitlines()[-1])
