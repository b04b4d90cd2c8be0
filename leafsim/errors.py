"""What can go wrong for a leaf, as data: who refused whom, with which code, and what to do about it.

Rule: nothing secret gets into `message`, `hint` or a field; a key or a signature is never part of an error.
"""

from __future__ import annotations

from leafsim.hints import ALERT_HINTS, CONNACK_HINTS, CONNACK_NAMES, VERIFY_HINTS


class LeafError(Exception):
    """Base of every error of this package. `exit_code`: 1 refused, 2 usage or file wrong, 3 could not reach."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class ConnectionStringError(LeafError):
    """A connection string that real SDKs refuse or misread. `problem` is a fixed word, `part` the key concerned."""

    def __init__(self, problem: str, part: str | None, detail: str, hint: str) -> None:
        self.problem = problem
        self.part = part
        self.detail = detail
        super().__init__(f"connection string: {detail}", hint)


class TrustError(LeafError):
    """What the leaf should trust, or show of itself, cannot be read from its file."""

    def __init__(self, path: str, reason: str, hint: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}", hint)


class Unreachable(LeafError):
    """Nobody answered. `cause` is "name", "refused", "timeout" or "network"; `phase` is "tcp", "tls" or "mqtt"."""

    exit_code = 3

    def __init__(self, where: str, cause: str, phase: str, detail: str, hint: str) -> None:
        self.where = where
        self.cause = cause
        self.phase = phase
        self.detail = detail
        super().__init__(f"{where}: {detail}", hint)


class TlsRefused(LeafError):
    """The TLS handshake failed.

    The leaf refused: `verify_code` and `verify_message` are OpenSSL's. The gateway refused: `alert` is the name of the
    alert received. The connection just ended: both are None and `eof` is true. `detail` is always there.
    """

    exit_code = 1

    def __init__(
        self,
        detail: str,
        *,
        verify_code: int | None = None,
        verify_message: str | None = None,
        alert: str | None = None,
        eof: bool = False,
    ) -> None:
        self.verify_code = verify_code
        self.verify_message = verify_message
        self.alert = alert
        self.eof = eof
        self.detail = detail
        super().__init__(f"TLS: {detail}", self._advice())

    @property
    def by(self) -> str:
        """Who ended it: "gateway" (an alert came, or the connection was closed) or "leaf"."""
        return "gateway" if self.alert or self.eof else "leaf"

    def _advice(self) -> str | None:
        if self.verify_code is not None:
            return VERIFY_HINTS.get(self.verify_code)
        if self.eof:
            return "the gateway closed without saying why; its log knows, or the port does not speak TLS"
        return ALERT_HINTS.get(self.alert or "")


class ConnackRefused(LeafError):
    """The gateway answered CONNECT with another code than 0 (MQTT 3.1.1, section 3.2.2.3)."""

    exit_code = 1

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = CONNACK_NAMES.get(code, "not defined by MQTT 3.1.1")
        super().__init__(f"CONNACK {code}: {self.name}", CONNACK_HINTS.get(code))


class Disconnected(LeafError):
    """There is no connection, or it ended while something was under way."""

    exit_code = 1

    def __init__(self, reason: str, hint: str | None = None) -> None:
        self.reason = reason
        super().__init__(f"disconnected: {reason}", hint)


class NotAcknowledged(LeafError):
    """The gateway is connected but did not answer a PUBLISH or SUBSCRIBE in time."""

    exit_code = 3

    def __init__(self, what: str, seconds: float) -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(
            f"no acknowledgement of {what} within {seconds:g} s",
            "the gateway holds the connection but does not answer; look at its log",
        )
