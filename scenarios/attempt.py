"""What came of one attempt to connect, whatever stack made it, and whether that is what was expected."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.events import ConnectionRefused, HandshakeFailed
from scenarios.expectations import GatewaySaw, Refused, Verdict
from scenarios.record import Refusal, describe


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended, from the leaf's side."""

    connected: bool
    by: str | None = None
    kind: str | None = None
    verify_code: int | None = None
    message: str | None = None
    connack: int | None = None

    def describe(self) -> str:
        """The outcome in words: what the leaf would show its user."""
        if self.connected:
            return "connected"
        if self.kind == "connack":
            return f"CONNACK {self.connack}: {self.message}"
        code = f" ({self.verify_code})" if self.verify_code is not None else ""
        prefix = {"tls": "TLS: ", "unreachable": "not reached: ", "disconnected": "disconnected: "}.get(
            self.kind or "", ""
        )
        return f"{prefix}{self.message}{code}"

    def got(self) -> str:
        """The outcome as the answer to `expected ...`."""
        if self.connected:
            return "connected"
        who = f" by {self.by}" if self.by else ""
        return f"refused{who}: {self.describe()}"

    def meets(self, verdict: Verdict) -> bool:
        """Whether this is what `verdict` asks for."""
        if verdict.refused is None:
            return self.connected
        return not self.connected and self._fits(verdict.refused)

    def _fits(self, refused: Refused) -> bool:
        return (
            refused.by in (None, self.by)
            and refused.class_ in (None, self.kind)
            and refused.verify_code in (None, self.verify_code)
            and refused.connack in (None, self.connack)
            and (refused.message is None or plain(refused.message) in plain(self.message or ""))
        )


def plain(message: str) -> str:
    """The message as compared: OpenSSL 1.1 wrote "self signed", OpenSSL 3 writes "self-signed"."""
    return message.lower().replace("-", " ")


def saw(expected: GatewaySaw, event: Refusal | None) -> bool:
    """Whether the gateway noticed what `expected` says."""
    if event is None:
        return False
    alert = event.alert if isinstance(event, HandshakeFailed) else None
    code = event.code if isinstance(event, ConnectionRefused) else None
    return (
        expected.alert in (None, alert)
        and expected.code in (None, code)
        and (expected.reason is None or expected.reason.lower() in event.reason.lower())
    )


def saw_instead(event: Refusal | None) -> str:
    """What the gateway noticed, as the answer to `expected the gateway to see ...`."""
    return "it saw nothing" if event is None else describe(event)
