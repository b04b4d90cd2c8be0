"""Node.js: the one on PATH, and old ones with the OpenSSL of their time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from leafsim.stacks.base import Target, Verdict
from leafsim.stacks.program import REFUSED, TIMEOUT, Ended, ProgramStack, cache_folder, run, source
from leafsim.tls import SYSTEM


class NodeStack(ProgramStack):
    """Node's tls module; codes are Node's (CERT_HAS_EXPIRED)."""

    name = "node"

    def program(self) -> Path | None:
        """Look on PATH."""
        found = shutil.which("node")
        return Path(found) if found else None

    def version_command(self) -> Sequence[str | Path]:
        """Ask for both versions."""
        return [self.program() or "node", "-p", "process.version + ' ' + process.versions.openssl"]

    def read_version(self, ended: Ended) -> str:
        """Return Node's and its OpenSSL's."""
        node, openssl = ended.output.split()
        return f"Node.js {node.removeprefix('v')} (OpenSSL {openssl})"

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Let Node make the handshake, and check the name as its clients do."""
        trust = SYSTEM if target.trust == SYSTEM else str(target.trust or "")
        asked = {"host": target.host, "port": target.port, "name": target.name, "ca": trust, "timeout": timeout}
        program = self.program()
        assert program is not None
        # Node trusts further roots when the environment says so; only the target's are meant.
        ended = run([program, source("probe.js"), json.dumps(asked)], timeout + 1, NODE_EXTRA_CA_CERTS="")
        if ended.late or not ended.output.strip():
            return TIMEOUT if ended.late else Verdict(False, None, ended.errors.strip()[-200:])
        answer = json.loads(ended.output)
        if answer["ok"]:
            return Verdict(True)
        if answer["code"] in ("ECONNREFUSED", "timeout"):
            return REFUSED if answer["code"] == "ECONNREFUSED" else TIMEOUT
        return Verdict(False, answer["code"], answer["message"])


class OldNodeStack(NodeStack):
    """An old Node.js out of the npm package `node`, which `leafgate matrix --install` fetches."""

    def __init__(self, name: str, package: str) -> None:
        self.name = name  # type: ignore[misc]  # one class for several stacks
        self.package = package

    def program(self) -> Path | None:
        """Look where `install` puts it."""
        path = self.folder / "node_modules" / "node" / "bin" / "node"
        return path if path.exists() else None

    @property
    def folder(self) -> Path:
        """Where this version lives."""
        return cache_folder() / self.name

    def missing(self) -> str:
        """Say how to get it."""
        return f"not installed: leafgate matrix --install {self.name}"

    def install(self, timeout: float = 300) -> None:
        """Fetch it with npm. Raises OSError with npm's words."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "package.json").write_text("{}")
        options = ["--prefix", str(self.folder), "--no-audit", "--no-fund"]
        command: list[str | Path] = ["npm", "install", *options, f"node@{self.package}"]
        ended = run(command, timeout)
        self.__dict__.pop("_version", None)
        if ended.code or self.program() is None:
            raise OSError(ended.errors.strip().splitlines()[-1] if ended.errors.strip() else "npm did not install it")
