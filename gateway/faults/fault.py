"""What all faults have in common: a name, a sentence, parameters, and where they apply.

Rule: a fault is data. What it does to a connection is an Effect, to the listeners `shuts`, to a CONNECT `overrules`;
nobody asks which fault it is.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.errors import GatewayError
from gateway.faults.effect import Effect, Link, Party, Way

Listener = Literal["mqtt", "https"]
Direction = Literal["both", "to-gateway", "to-client"]


class FaultError(GatewayError):
    """A fault that does not exist, or parameters that it does not take."""

    exit_code = 2


class Fault(BaseModel):
    """Base of all faults; by default it does nothing to anybody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    #: whether it has effects on connections, rather than on listeners or verdicts
    on_wire: ClassVar[bool] = False
    #: whether connections that are open when it is switched on have it too
    for_open: ClassVar[bool] = True

    listener: Listener | None = Field(default=None, description="at this listener alone: mqtt or https")

    @property
    def most(self) -> int | None:
        """How many connections it comes to at most."""
        return None

    def shuts(self, listener: str) -> bool:
        """Whether the listener is shut."""
        return False

    def overrules(self, client_id: str) -> int | None:
        """The CONNACK code that a client gets instead of the right one."""
        return None

    def comes_to(self, party: Party, has_read: bool) -> bool | None:
        """Whether it comes to this connection now; None when that is not known yet.

        `has_read`: the gateway has read what the client sent, and has answered.
        """
        return None

    def effect(self, line: Link, seed: str) -> Effect:
        """What it does to a connection; `seed` is for what is random about it."""
        raise TypeError(f"the fault {self.name} has no effect on connections")

    def __str__(self) -> str:
        """The fault as `leafgate up --fault` would take it."""
        given = ",".join(f"{name}={value}" for name, value in self.model_dump(exclude_unset=True).items())
        return f"{self.name}:{given}" if given else self.name


class WireFault(Fault):
    """Base of the faults that lie on a connection, and of what they can be limited to."""

    on_wire: ClassVar[bool] = True

    connections: int | None = Field(default=None, ge=1, description="for so many connections at most")
    client_id: str | None = Field(default=None, min_length=1, description="for this client alone, once CONNECT is read")
    since: Literal["accept", "handshake", "connect"] | None = Field(
        default=None, description="when it begins: accept, handshake (its end) or connect (read, before CONNACK)"
    )

    @model_validator(mode="after")
    def _client_is_known(self) -> WireFault:
        if self.client_id is not None and self.since not in (None, "connect"):
            raise PydanticCustomError(
                "since", "a client id is known since connect, not since {since}", {"since": self.since}
            )
        return self

    @property
    def most(self) -> int | None:
        """How many connections it comes to at most."""
        return self.connections

    def comes_to(self, party: Party, has_read: bool) -> bool | None:
        """As limited."""
        if self.client_id is not None or self.since == "connect":
            if party.client_id is None:
                return None
            return self.client_id in (None, party.client_id)
        # The end of the handshake is ours to send with TLS 1.2: it has to be on its way first.
        return True if self.since != "handshake" or (party.established and has_read) else None


def ways(direction: Direction) -> frozenset[Way]:
    """The streams that a direction names."""
    return frozenset(Way) if direction == "both" else frozenset({Way(direction)})
