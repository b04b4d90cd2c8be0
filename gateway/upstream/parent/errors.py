"""Why the gateway above cannot be used; for the log, and for whoever waits."""

from __future__ import annotations

import os
import ssl


class ParentError(Exception):
    """Nothing can be had from the gateway above.

    `phase` is how far it came: "dns", "tcp", "tls", "mqtt" or "http"; `refused` says that it was reached and does not
    let this gateway, or who it speaks for, in.
    """

    def __init__(self, phase: str, reason: str, *, refused: bool = False) -> None:
        self.phase = phase
        self.reason = reason
        self.refused = refused
        super().__init__(reason)


def words(error: OSError) -> str:
    """What the system says: asyncio puts the address in its place."""
    return (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()


def of_tls(error: ssl.SSLError) -> ParentError:
    """What OpenSSL says, as it says it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ParentError("tls", f"its certificate is refused: {error.verify_message}")
    return ParentError("tls", f"TLS failed: {error.reason or error}")
