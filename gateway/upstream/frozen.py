"""JSON documents that nobody can change.

They are dicts and lists, so that `json` writes them as fast as any; a copy of one (`copy.deepcopy`) is ordinary again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("this document belongs to a twin: change a copy of it, or the twin")


class FrozenDict(dict[str, Any]):
    """A JSON object."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as an ordinary dict."""
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A JSON array."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as an ordinary list."""
        return list, (list(self),)


def freeze(document: Mapping[str, Any]) -> FrozenDict:
    """The document with everything in it made unchangeable; parts that are so already are kept as they are."""
    if type(document) is FrozenDict:
        return document
    return FrozenDict({name: _frozen(value) for name, value in document.items()})


def _frozen(value: Any) -> Any:
    if type(value) is dict:
        return freeze(value)
    return FrozenList(map(_frozen, value)) if type(value) is list else value
