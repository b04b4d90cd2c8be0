"""The faults of one gateway, switched on and off while it runs.

Rule: while no fault lies on connections, a connection is exactly what it would be without this package. Everything
here is called on the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from gateway.faults.catalogue import make
from gateway.faults.effect import Party
from gateway.faults.fault import Fault
from gateway.faults.line import Line


class Host(Protocol):
    """The gateway's listeners and connections, as faults know them."""

    @property
    def connections(self) -> Iterable[Any]:
        """Those that are open."""

    @property
    def ports(self) -> Mapping[int, str]:
        """The names of the listeners by their ports."""

    def shut(self, listener: str) -> None:
        """Listen no more; the port stays ours."""

    def reopen(self, listener: str) -> None:
        """Listen again."""


class Ruling(Protocol):
    """A verdict about a CONNECT: a dataclass with a code and a reason."""

    code: int
    reason: str


Verdict = TypeVar("Verdict", bound=Any)


class Switched:
    """A fault that is switched on; `touched` counts what it has come to: connections, or CONNECT packets."""

    __slots__ = ("fault", "touched")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.touched = 0

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.fault.name

    def claim(self) -> bool:
        """Whether one more may have it."""
        if self.fault.most is not None and self.touched >= self.fault.most:
            return False
        self.touched += 1
        return True

    def __repr__(self) -> str:
        """The fault as one would write it."""
        return f"<{self.fault}>"


class Faults:
    """What is wrong with a gateway at the moment; nothing, by default."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._active: list[Switched] = []
        self._lines: dict[Line, None] = {}
        self._host: Host | None = None
        self._shut: set[str] = set()

    # -- for whoever switches them ------------------------------------------------------------------------------------

    @property
    def active(self) -> tuple[Switched, ...]:
        """What is switched on, oldest first."""
        return tuple(self._active)

    def add(self, fault: str | Fault, **parameters: Any) -> Switched:
        """Switch a fault on, by its name and parameters or as it is; FaultError says what is wrong with them."""
        switched = Switched(make(fault, parameters) if isinstance(fault, str) else fault)
        self._active.append(switched)
        self._log.info("Fault is on: %s", switched.fault)
        self._set_listeners()
        if switched.fault.on_wire and switched.fault.for_open:
            self._lay_on_open(switched)
        return switched

    def remove(self, switched: Switched) -> None:
        """Switch it off; a second time does nothing."""
        if switched not in self._active:
            return
        self._active.remove(switched)
        self._log.info("Fault is off: %s", switched.fault)
        self._set_listeners()
        for line in tuple(self._lines):
            line.lift(switched)

    def clear(self) -> None:
        """Switch everything off."""
        for switched in self.active:
            self.remove(switched)

    # -- for the gateway ----------------------------------------------------------------------------------------------

    def attach(self, host: Host) -> None:
        """The gateway has started; what is on already takes effect."""
        self._host = host
        self._set_listeners()

    def detach(self) -> None:
        """The gateway stops; what is on stays on for its next start."""
        self._host = None
        self._shut.clear()

    def accepted(self, connection: Any) -> asyncio.BaseProtocol:
        """What a new connection's transport talks to: the connection itself, unless a fault may come to it."""
        if not any(switched.fault.on_wire for switched in self._active):
            accepted: asyncio.BaseProtocol = connection
            return accepted
        line = _NewLine(connection, self)
        self._lines[line] = None
        return line

    def judged(self, connection: Any, client_id: str, verdict: Verdict) -> Verdict:
        """The verdict about a CONNECT, or another one."""
        for switched in self._active:
            code = switched.fault.overrules(client_id)
            if code is not None and self._here(switched, connection.transport) and switched.claim():
                reason = f"a fault answers CONNACK {code} instead of {int(verdict.code)}"
                return dataclasses.replace(verdict, code=code, reason=reason)
        return verdict

    # -- inside -------------------------------------------------------------------------------------------------------

    def lay_on(self, line: Line, transport: asyncio.BaseTransport) -> None:
        """Everything that may come to a new connection."""
        line.add(*(one for one in self._active if one.fault.on_wire and self._here(one, transport)))

    def _lay_on_open(self, switched: Switched) -> None:
        lines = {line.party: line for line in self._lines}
        for connection in sorted(self._host.connections if self._host else (), key=lambda each: str(each.channel)):
            party: Party = connection
            if not self._here(switched, party.transport):
                continue
            line = lines.get(party)
            if line is None:
                line = Line(party, self._forget)
                self._lines[line] = None
                line.enter()
            line.add(switched)

    def _here(self, switched: Switched, transport: asyncio.BaseTransport) -> bool:
        wanted = switched.fault.listener
        if wanted is None or self._host is None:
            return wanted is None
        return self._host.ports.get(transport.get_extra_info("sockname")[1]) == wanted

    def _forget(self, line: Line) -> None:
        self._lines.pop(line, None)

    def _set_listeners(self) -> None:
        for listener in set(self._host.ports.values()) if self._host else ():
            assert self._host is not None
            wanted = any(switched.fault.shuts(listener) for switched in self._active)
            if wanted and listener not in self._shut:
                self._shut.add(listener)
                self._host.shut(listener)
            elif not wanted and listener in self._shut:
                self._shut.remove(listener)
                self._host.reopen(listener)


class _NewLine(Line):
    """The line of a connection that has just been accepted: what comes to it depends on its transport."""

    def __init__(self, party: Party, faults: Faults) -> None:
        super().__init__(party, faults._forget)
        self._faults = faults

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Meet the faults once the gateway knows the connection."""
        super().connection_made(transport)
        self._faults.lay_on(self, transport)
