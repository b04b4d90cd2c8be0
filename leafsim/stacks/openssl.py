"""`openssl s_client`, when it is on PATH: the verify error with its number and the depth it was found at."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cached_property

from leafsim.address import is_address, with_port
from leafsim.stacks.base import Stack, Target, Verdict
from leafsim.tls import SYSTEM

_VERIFY_ERROR = re.compile(r"verify error:num=(?P<code>\d+):(?P<message>.*)")
_DEPTH = re.compile(r"^depth=(?P<depth>\d+)", re.MULTILINE)
_ALERT = re.compile(r"(?:tlsv1|tlsv13|sslv3) (?:alert )?(?P<name>[a-z ]+):.*SSL alert number (?P<number>\d+)")
_ERRNO = re.compile(r"connect:errno=(?P<errno>\d+)")
_REFUSED = 111
_SECONDS_FOR_VERSION = 10


class OpensslStack(Stack):
    """The `openssl` program."""

    name = "openssl"

    def available(self) -> str | None:
        """Return why not: it is not on PATH, or does not run."""
        if shutil.which("openssl") is None:
            return "no `openssl` on PATH"
        return None if self._version else "`openssl version` does not answer"

    def version(self) -> str:
        """Return the program's own words, "OpenSSL 3.0.19 27 Jan 2026 ..." shortened to name and number."""
        return " ".join(self._version.split()[:2])

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Run s_client with an empty standard input, which ends it after the handshake."""
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program; arguments are a name, an address and a path
                self._command(target),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict(False, "timeout", f"no answer within {timeout:g} s")
        return read_answer(done.stdout.decode("utf-8", "replace"), done.returncode)

    @cached_property
    def _version(self) -> str:
        try:
            done = subprocess.run(
                ["openssl", "version"],  # noqa: S607 - the one on PATH is what is asked for
                capture_output=True,
                timeout=_SECONDS_FOR_VERSION,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("utf-8", "replace").strip()

    def _command(self, target: Target) -> list[str]:
        where = with_port(target.host, target.port)
        command = ["openssl", "s_client", "-connect", where, "-verify_return_error", "-verify", "20"]
        if is_address(target.name):
            command += ["-verify_ip", target.name, "-noservername"]
        else:
            command += ["-verify_hostname", target.name, "-servername", target.name]
        return command + self._trust(target)

    def _trust(self, target: Target) -> list[str]:
        if target.trust == SYSTEM:
            return []
        nothing_else = ["-no-CApath"]
        if not self._version.startswith(("OpenSSL 1.", "LibreSSL")):
            nothing_else.append("-no-CAstore")  # an option, and a place to look, since OpenSSL 3.0
        if target.trust is None:
            return ["-no-CAfile", *nothing_else]
        return ["-CAfile", str(target.trust), *nothing_else]


def read_answer(output: str, exit_code: int) -> Verdict:
    """Read what s_client printed."""
    error = _VERIFY_ERROR.search(output)
    if error:
        depths = _DEPTH.findall(output[: error.start()])
        return Verdict(False, int(error["code"]), error["message"].strip(), int(depths[-1]) if depths else None)
    alert = _ALERT.search(output)
    if alert:
        name = alert["name"].strip().replace(" ", "_")
        return Verdict(False, name, f"the gateway sent alert {name}")
    refused = _ERRNO.search(output)
    if refused:
        number = int(refused["errno"])
        return Verdict(False, "refused" if number == _REFUSED else "network", f"cannot connect (errno {number})")
    if exit_code == 0 and "Verify return code: 0 (ok)" in output:
        return Verdict(True)
    return Verdict(False, None, _last_words(output) or f"openssl ended with {exit_code}")


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if "error" in line.lower()]
    return lines[-1].strip() if lines else ""
