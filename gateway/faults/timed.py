"""Pieces that pass later.

Rule: nothing overtakes: each way keeps its order, and has one timer, for its first piece.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque

from gateway.faults.effect import Effect, Link, Piece, Way, size


class Timed(Effect):
    """Keeps each piece until it is due; what says when is the fault."""

    def __init__(self, line: Link, ways: frozenset[Way]) -> None:
        super().__init__(line)
        self._waiting: dict[Way, deque[tuple[float, Piece]]] = {way: deque() for way in ways}
        self._timers: dict[Way, asyncio.TimerHandle] = {}
        self._lifted = False

    @abstractmethod
    def due(self, piece: Piece, last: float) -> float:
        """When the piece may pass, by the loop's clock; `last` is when the one before it does."""

    def split(self, piece: Piece) -> list[Piece]:
        """The piece in the parts that pass one by one."""
        return [piece]

    def take(self, way: Way, piece: Piece) -> None:
        """Keep it."""
        waiting = self._waiting.get(way)
        if waiting is None or self._lifted:
            self.line.forward(way, piece, self)
            return
        for part in self.split(piece):
            last = waiting[-1][0] if waiting else self.line.loop.time()
            waiting.append((max(last, self.due(part, last)), part))
        self.line.hold(way, size(piece))
        self._set_timer(way)

    def _set_timer(self, way: Way) -> None:
        if way not in self._timers and self._waiting[way]:
            self._timers[way] = self.line.loop.call_at(self._waiting[way][0][0], self._release, way)

    def _release(self, way: Way) -> None:
        self._timers.pop(way, None)
        waiting, now = self._waiting[way], self.line.loop.time()
        while waiting and waiting[0][0] <= now:
            self._pass(way)
        self._set_timer(way)

    def _pass(self, way: Way) -> None:
        _, piece = self._waiting[way].popleft()
        self.line.hold(way, -size(piece))
        self.line.forward(way, piece, self)

    def lift(self) -> None:
        """Everything passes now: first what the gateway has said already, for it may answer to the rest."""
        self._cancel()
        for way in (Way.TO_CLIENT, Way.TO_GATEWAY):
            while self._waiting.get(way):
                self._pass(way)
            self._lifted = True

    def stop(self) -> None:
        """Nothing passes any more."""
        self._cancel()
        for waiting in self._waiting.values():
            waiting.clear()

    def _cancel(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
