"""`connack`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gateway.faults.fault import Fault


class Connack(Fault):
    """CONNECT is answered with another code than the right one."""

    name: ClassVar[str] = "connack"

    code: int = Field(ge=1, le=255, description="the code; MQTT 3.1.1 knows 1 to 5")
    connections: int | None = Field(default=None, ge=1, description="for so many CONNECT packets at most")
    client_id: str | None = Field(default=None, min_length=1, description="for this client alone")

    @property
    def most(self) -> int | None:
        """How many times it comes at most."""
        return self.connections

    def overrules(self, client_id: str) -> int | None:
        """The code, for everybody or for one client."""
        return self.code if self.client_id in (None, client_id) else None
