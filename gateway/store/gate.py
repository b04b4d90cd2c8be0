"""A store that lets go of messages only after something else has them.

Rule: what is forgotten here outlives the process elsewhere; what cannot be kept there stays here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from gateway.store import UPSTREAM, Store


class _Gate:
    """Stands before a store and lets everything through but `forget`, which has to wait."""

    def __init__(self, keep: Callable[[], None], store: Store) -> None:
        self._keep = keep
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def forget(self, through: int, queue: str = UPSTREAM) -> None:
        """Drop messages once they are kept; see Store. Raises StoreError, and drops none."""
        self._keep()
        self._store.forget(through, queue)


def letting_go_after(keep: Callable[[], None], store: Store) -> Store:
    """The store, which forgets only after `keep` has returned; what `keep` raises is a StoreError."""
    return cast(Store, _Gate(keep, store))
