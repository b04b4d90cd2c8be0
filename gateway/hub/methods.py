"""Direct methods: what is asked of a client, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A call of a direct method: `payload` is JSON text, timeouts are seconds."""

    client_id: str
    name: str
    payload: bytes = b"null"
    response_timeout: float = 30.0
    connect_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What became of a call.

    With `http_status` 200 the client has answered `status` and `payload` (JSON text, may be empty); 404: it was not
    there; 504: it did not answer.
    """

    status: int | None
    payload: bytes
    http_status: int = 200
    message: str = ""
