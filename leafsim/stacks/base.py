"""One answer shape for every TLS stack: what is asked, what came of it, and the class that adapters derive from."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from leafsim.errors import LeafError, TlsRefused, Unreachable
from leafsim.tls import Trust


@dataclass(frozen=True)
class Target:
    """Where TCP goes (`host`, `port`), and which name is sent as SNI and verified against what the leaf trusts."""

    host: str
    port: int
    name: str
    trust: Trust = None


@dataclass(frozen=True)
class Verdict:
    """What a stack made of a handshake.

    `code` is OpenSSL's verify code, the name of an alert received, or a word for what kept it from judging.
    """

    ok: bool
    code: int | str | None = None
    message: str = ""
    depth: int | None = None


@dataclass(frozen=True)
class Outcome:
    """One stack's answer. `modelled` says that part of its judgement is a model and no real program's."""

    stack: str
    ok: bool
    code: int | str | None
    message: str
    depth: int | None
    duration_s: float
    version: str
    modelled: bool = False

    def __str__(self) -> str:
        model = ", modelled" if self.modelled else ""
        code = f" ({self.code})" if self.code is not None else ""
        answer = "connected" if self.ok else f"refused: {self.message}{code}"
        return f"{self.stack} [{self.version}{model}]: {answer}"

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for a JSON report."""
        return asdict(self)


class StackMissing(LeafError):
    """The stack is not on this machine."""

    exit_code = 3

    def __init__(self, stack: str, reason: str) -> None:
        self.stack = stack
        self.reason = reason
        super().__init__(f"the TLS stack {stack} is not available: {reason}", "install it, or leave it out")


class Stack(ABC):
    """An adapter to one TLS stack. `probe` never hangs and never raises for what the gateway does."""

    name: ClassVar[str]
    modelled: ClassVar[bool] = False

    def available(self) -> str | None:
        """Return why the stack cannot be used here, or None when it can."""
        return None

    @abstractmethod
    def version(self) -> str:
        """Return which stack it is, with its version."""

    @abstractmethod
    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Make a handshake, within `timeout` seconds; the connection is closed afterwards."""

    def probe(self, target: Target, timeout: float = 10.0) -> Outcome:
        """Make a handshake and tell what came of it; StackMissing when the stack is not here."""
        reason = self.available()
        if reason:
            raise StackMissing(self.name, reason)
        start = time.monotonic()
        verdict = self.attempt(target, timeout)
        took = round(time.monotonic() - start, 6)
        return Outcome(
            self.name,
            verdict.ok,
            verdict.code,
            verdict.message,
            verdict.depth,
            took,
            self.version(),
            self.modelled,
        )


def verdict_of(error: LeafError) -> Verdict:
    """Say in this shape what leafsim's own explanation of a failed handshake is."""
    if isinstance(error, TlsRefused):
        code = error.verify_code if error.verify_code is not None else error.alert or ("eof" if error.eof else None)
        return Verdict(False, code, error.verify_message or error.detail)
    if isinstance(error, Unreachable):
        return Verdict(False, error.cause, error.detail)
    return Verdict(False, None, error.message)
