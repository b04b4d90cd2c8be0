"""Who wants to know when something happens.

Rule: observers are called at once, one after the other; one that raises is logged, and the others are still told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")

logger = logging.getLogger("leafgate.observers")


class Observers(Generic[P]):
    """The observers of one thing; `what` names it in the log."""

    __slots__ = ("_observers", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._observers: list[Callable[P, None]] = []

    def subscribe(self, observer: Callable[P, None]) -> Callable[[], None]:
        """Call `observer` from now on; the answer ends that."""
        self._observers.append(observer)

        def unsubscribe() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return unsubscribe

    def tell(self, *facts: P.args, **named: P.kwargs) -> None:
        """Call every observer."""
        for observer in tuple(self._observers):
            try:
                observer(*facts, **named)
            except Exception:  # what has happened has happened, and the others are still to know
                logger.exception("an observer of %s failed", self._what)
