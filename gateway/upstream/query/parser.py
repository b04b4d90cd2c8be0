"""From the text of a query, or of a target condition, to a Query.

Sources: "IoT Hub query language for device and module twins, jobs, and message routing", "Queries for IoT Hub device
and module twins", "Queries for IoT Hub jobs" (their limitations), "Automatic device management at scale" (conditions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, NoReturn

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from gateway.upstream.query.conditions import Conditions, Document, fail
from gateway.upstream.query.errors import QueryError
from gateway.upstream.query.paths import COLLECTIONS, DEVICES, JOBS, MODULES, segments
from gateway.upstream.query.values import Path

MOST_CHARACTERS = 8_192
AGGREGATES = ("COUNT", "AVG", "SUM", "MIN", "MAX")

_SPELLED = {
    "PATH": "a property", "STRING": "a text in quotes", "NUMBER": "a number", "LPAR": "(", "RPAR": ")", "STAR": "*",
    "LBRACKET": "[", "RBRACKET": "]", "COMMA": ",", "$END": "the end",
}  # fmt: skip
_OPERATORS = {"EQ", "NE", "LT", "LE", "GT", "GE", "IN", "NIN", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "AND", "OR"}
_CONSTANTS = {"STRING", "NUMBER", "HEX", "TRUE", "FALSE", "NULL", "UNDEFINED", "LBRACKET"}
#: what other dialects of SQL have
_NOT_HERE = {
    "ORDER": "the language has no ORDER BY: results come in the order of their ids",
    "LIMIT": "write SELECT TOP 10 ...",
    "HAVING": "the language has no HAVING",
    "JOIN": "the language has no JOIN",
    "LIKE": "the language has no LIKE",
    "IN": "write NIN for not in, and the values in brackets: ['a', 'b']",
}


@dataclass(frozen=True, slots=True)
class Item:
    """What a row has under `name`: the property at `path`, or the `aggregate` of it (COUNT has no path)."""

    name: str
    path: Path
    aggregate: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query; without `items` it gives whole documents, without `meets` all of them.

    `names` are the properties of documents that it looks at; `metadata` tells whether at their $metadata, too.
    """

    text: str
    collection: str
    items: tuple[Item, ...] = ()
    top: int | None = None
    meets: Callable[[Document], bool] | None = field(default=None, repr=False, compare=False)
    group_by: Path | None = None
    names: frozenset[str] = frozenset()
    metadata: bool = False

    @property
    def aggregates(self) -> bool:
        """Whether its rows stand for groups of documents."""
        return self.group_by is not None or any(item.aggregate for item in self.items)


def parse_query(text: str) -> Query:
    """Read a query; QueryError tells line, column and what was expected."""
    children = _tree("query", text).children
    parts = {part.data: part for part in children if isinstance(part, Tree)}
    after = _by_keyword(children)
    collection = _collection(after["FROM"])
    conditions = Conditions(collection)
    top = _top(after["TOP"]) if "TOP" in after else None
    items = _items(parts, conditions)
    meets = conditions.condition(after["WHERE"]) if "WHERE" in after else None
    group_by = conditions.path(after["BY"]) if "BY" in after else None
    _check(collection, children, conditions, items, after)
    return Query(text, collection, tuple(item for item, _ in items), top, meets, group_by, *_looks(conditions))


@lru_cache(maxsize=256)
def parse_target(text: str) -> tuple[Query, list[tuple[Path, Token]]]:
    """Read a condition as configurations and jobs have it, and the properties it names.

    That is what follows WHERE, `*`, or a query from FROM on, which is how modules are chosen.
    """
    tree = _tree("target", text)
    if tree.data == "everything":
        return Query(text, DEVICES), []
    after = _by_keyword(tree.children)
    collection = _collection(after["FROM"]) if "FROM" in after else DEVICES
    if collection == JOBS:
        fail(after["FROM"], "devices.jobs cannot be a target", "write FROM devices.modules WHERE ...")
    conditions = Conditions(collection)
    condition = tree.children[0] if tree.data == "where_only" else after.get("WHERE")
    meets = None if condition is None else conditions.condition(condition)
    names, metadata = _looks(conditions)
    return Query(text, collection, meets=meets, names=names, metadata=metadata), conditions.paths


def _looks(conditions: Conditions) -> tuple[frozenset[str], bool]:
    paths = [path for path, _ in conditions.paths]
    return frozenset(path[0] for path in paths), any("$metadata" in path for path in paths)


def _by_keyword(children: list[Any]) -> dict[str, Any]:
    """What follows each keyword."""
    words = {"TOP", "FROM", "WHERE", "BY"}
    return {word.type: part for word, part in pairwise(children) if isinstance(word, Token) and word.type in words}


def _tree(start: str, text: str) -> Tree[Token]:
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"the query has {len(text)} characters; {MOST_CHARACTERS} is the most")
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as wrong:
        _explain(text, wrong)
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None


@cache
def _parser() -> Lark:
    grammar = files("gateway.upstream.query").joinpath("query.lark").read_text("utf-8")
    starts = ["query", "target"]
    return Lark(grammar, start=starts, parser="lalr", lexer="basic", maybe_placeholders=False, keep_all_tokens=True)


# -- clauses -----------------------------------------------------------------------------------------------------------


def _collection(token: Token) -> str:
    name = token.lower()
    if name not in COLLECTIONS:
        fail(token, f"there is no collection {token!s}", f"there are {', '.join(COLLECTIONS)}")
    return name


def _top(token: Token) -> int:
    if not token.isdigit() or int(token) < 1:
        fail(token, f"{token!s} is no number of rows", "write SELECT TOP 10 ...")
    return int(token)


def _items(parts: dict[str, Tree[Token]], conditions: Conditions) -> list[tuple[Item, Token]]:
    chosen = parts.get("items")
    nodes = [] if chosen is None else [node for node in chosen.children if isinstance(node, Tree)]
    return [_item(node, conditions) for node in nodes]


def _item(node: Tree[Token], conditions: Conditions) -> tuple[Item, Token]:
    tokens = [token for token in node.children if isinstance(token, Token)]
    first, alias = tokens[0], tokens[-1] if any(token.type == "AS" for token in tokens) else None
    if alias is not None and len(segments(alias)) != 1:
        fail(alias, f"{alias!s} is no alias", "an alias is one name")
    if node.data == "projected":
        path = conditions.path(first)
        return Item(str(alias or path[-1]), path), first
    aggregate = first.upper()
    if aggregate not in AGGREGATES:
        fail(first, f"there is no aggregate {first!s}", f"there are {', '.join(AGGREGATES)}")
    inner = tokens[2] if tokens[2].type == "PATH" else None
    if (inner is None) is not (aggregate == "COUNT"):
        hint = "write COUNT() AS number" if aggregate == "COUNT" else f"write {aggregate}(properties.reported.x) AS x"
        fail(first, f"{first!s} takes {'nothing' if aggregate == 'COUNT' else 'one property'}", hint)
    if alias is None:
        fail(first, f"{first!s} has no name", f"write {first!s}(...) AS number")
    return Item(str(alias), () if inner is None else conditions.path(inner), aggregate), first


def _check(
    collection: str,
    children: list[Any],
    conditions: Conditions,
    items: list[tuple[Item, Token]],
    after: dict[str, Any],
) -> None:
    """Refuse what the documentation says that the collections do not support."""
    if collection == JOBS:
        if items:
            fail(items[0][1], "devices.jobs has no projections and no aggregates", "write SELECT * FROM devices.jobs")
        for path, token in conditions.paths:
            if path[0] in {"tags", "properties"}:
                fail(token, f"{token!s} belongs to a twin", "conditions on devices.jobs are about jobs")
    if "BY" in after:
        if collection != DEVICES:
            fail(after["BY"], f"{collection} cannot be grouped", "GROUP BY is for FROM devices")
        if not items:
            fail(
                children[0], "SELECT * cannot be grouped", "write SELECT status, COUNT() AS number ... GROUP BY status"
            )
    if "BY" in after or any(item.aggregate for item, _ in items):
        grouped = conditions.paths[-1][0] if "BY" in after else None
        for item, token in items:
            if item.aggregate is None and item.path != grouped:
                fail(token, f"{token!s} is neither grouped by nor aggregated", "one row stands for many documents")


# -- errors ------------------------------------------------------------------------------------------------------------


def _explain(text: str, wrong: UnexpectedInput) -> NoReturn:
    if isinstance(wrong, UnexpectedToken) and wrong.token.type != "$END":
        token = wrong.token
        hint = _NOT_HERE.get(token.upper()) or _expected(wrong.expected)
        fail(token, f"Unexpected input at '{token!s}'", hint)
    if isinstance(wrong, UnexpectedCharacters):
        character = text[wrong.pos_in_stream or 0]
        unclosed = character in "'\""
        problem = "the text is not closed" if unclosed else f"Unexpected character at input '{character}'"
        hint = "end it with the same quote" if unclosed else ""
        raise QueryError(problem, line=wrong.line, column=wrong.column, hint=hint) from None
    lines = text.split("\n")
    problem = "the query ends too early" if text.strip() else "there is no query"
    expected = _expected(getattr(wrong, "expected", ()))
    raise QueryError(problem, line=len(lines), column=len(lines[-1]) + 1, hint=expected) from None


def _expected(names: Any) -> str:
    wanted = set(names or ())
    operators = bool(wanted & _OPERATORS) and not wanted & (_CONSTANTS - {"LBRACKET"})
    plain = wanted - _OPERATORS - _CONSTANTS - {"HEX"}
    words = sorted(_SPELLED.get(name, name) for name in plain)
    words += ["a value"] if wanted & (_CONSTANTS - {"LBRACKET"}) else []
    words += ["an operator"] if operators else []
    return f"expected {' or '.join(words)}" if words else ""


__all__ = ["AGGREGATES", "DEVICES", "JOBS", "MODULES", "Item", "Query", "parse_query", "parse_target"]
