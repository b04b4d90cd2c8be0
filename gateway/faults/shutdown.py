"""`shutdown`."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from gateway.faults.effect import Effect, Link
from gateway.faults.fault import WireFault


class Shutdown(WireFault):
    """The gateway ends connections in good order, with TLS close_notify."""

    name: ClassVar[str] = "shutdown"

    def effect(self, line: Link, seed: str) -> Effect:
        """Close."""
        return _Shutdown(line)


class _Shutdown(Effect):
    _soon: asyncio.Handle | None = None

    def begin(self) -> None:
        """Not in the middle of what the gateway is doing with this connection."""
        self._soon = self.line.loop.call_soon(self.line.party.close, "the gateway shuts connections down")

    def stop(self) -> None:
        """The client was faster."""
        if self._soon is not None:
            self._soon.cancel()
