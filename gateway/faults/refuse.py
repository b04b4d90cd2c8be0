"""`refuse`."""

from __future__ import annotations

from typing import ClassVar

from gateway.faults.fault import Fault


class Refuse(Fault):
    """Nobody listens: the port is shut, and a client gets ECONNREFUSED."""

    name: ClassVar[str] = "refuse"

    def shuts(self, listener: str) -> bool:
        """Whether this listener is shut."""
        return self.listener in (None, listener)
