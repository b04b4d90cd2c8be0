"""From the tree of a condition to a function that judges documents.

Rule: what is wrong with a condition is found here, with its place; judging a document cannot fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NoReturn

from lark import Token, Tree

from gateway.upstream.query.errors import QueryError
from gateway.upstream.query.paths import canonical
from gateway.upstream.query.values import (
    UNDEFINED,
    Path,
    Value,
    among,
    at,
    both,
    calculate,
    compare,
    either,
    is_number,
    is_primitive,
    negate,
)

Document = Mapping[str, Any]
Run = Callable[[Document], Value]
Node = Tree[Token] | Token

_MOST_DEPTH = 100  # the interpreter's stack ends somewhere; chains of AND and of OR do not count
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.)|$)", re.DOTALL)

_OF_ONE: dict[str, Callable[[Value], bool]] = {
    "IS_NULL": lambda value: value is None,
    "IS_BOOL": lambda value: isinstance(value, bool),
    "IS_NUMBER": is_number,
    "IS_STRING": lambda value: isinstance(value, str),
    "IS_OBJECT": lambda value: isinstance(value, dict),
    "IS_ARRAY": lambda value: isinstance(value, list),
    "IS_PRIMITIVE": is_primitive,
}
_OF_TWO_STRINGS: dict[str, Callable[[str, str], bool]] = {
    "STARTSWITH": str.startswith,
    "STARTS_WITH": str.startswith,
    "ENDSWITH": str.endswith,
    "ENDS_WITH": str.endswith,
    "CONTAINS": str.__contains__,
}
_FUNCTIONS = ("IS_DEFINED", "ARRAY_CONTAINS", *_OF_ONE, *_OF_TWO_STRINGS)


class Conditions:
    """Compiles the conditions of one query over a collection; `paths` are the attributes it has met, with places."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._depth = 0
        self.paths: list[tuple[Path, Token]] = []

    def condition(self, node: Node) -> Callable[[Document], bool]:
        """Whether a document meets the condition; anything but true does not."""
        run = self._run(node)
        return lambda document: run(document) is True

    def path(self, token: Token) -> Path:
        """The path that an attribute means."""
        path = canonical(self._collection, str(token))
        self.paths.append((path, token))
        return path

    def _run(self, node: Node) -> Run:
        assert isinstance(node, Tree)
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise QueryError("the condition is nested too deeply", hint=f"{_MOST_DEPTH} levels are the most")
        run: Run = getattr(self, f"_{node.data}")(*node.children)
        self._depth -= 1
        return run

    # -- constants and attributes ------------------------------------------------------------------------------------

    def _string(self, token: Token) -> Run:
        return _constantly(unquote(token))

    def _number(self, token: Token) -> Run:
        return _constantly(_number(token))

    def _hexadecimal(self, token: Token) -> Run:
        return _constantly(int(token, 16))

    def _negative(self, _sign: Token, token: Token) -> Run:
        return _constantly(-_number(token))

    def _true(self, _token: Token) -> Run:
        return _constantly(True)

    def _false(self, _token: Token) -> Run:
        return _constantly(False)

    def _null(self, _token: Token) -> Run:
        return _constantly(None)

    def _undefined(self, _token: Token) -> Run:
        return _constantly(UNDEFINED)

    def _array(self, *nodes: Node | None) -> Run:
        return _constantly(self._constants(nodes))

    def _constants(self, nodes: tuple[Node | None, ...]) -> list[Value]:
        return [self._run(node)({}) for node in nodes if isinstance(node, Tree)]

    def _attribute(self, token: Token) -> Run:
        path = self.path(token)
        return lambda document: at(document, path)

    def _nested(self, _left: Token, node: Node, _right: Token) -> Run:
        return self._run(node)

    # -- operators ---------------------------------------------------------------------------------------------------

    def _either_of(self, left: Node, _word: Token, right: Node) -> Run:
        runs = self._chain("either_of", left, right)
        return lambda document: reduce(either, [run(document) for run in runs])

    def _both_of(self, left: Node, _word: Token, right: Node) -> Run:
        runs = self._chain("both_of", left, right)
        return lambda document: reduce(both, [run(document) for run in runs])

    def _chain(self, kind: str, left: Node, right: Node) -> list[Run]:
        nodes = [right]
        while isinstance(left, Tree) and left.data == kind:
            nodes.append(left.children[2])
            left = left.children[0]
        return [self._run(node) for node in reversed([*nodes, left])]

    def _negated(self, _word: Token, node: Node) -> Run:
        run = self._run(node)
        return lambda document: negate(run(document))

    def _compared(self, left: Node, sign: Token, right: Node) -> Run:
        one, other, judge = self._run(left), self._run(right), compare(str(sign))
        return lambda document: judge(one(document), other(document))

    def _among(self, left: Node, word: Token, right: Tree[Token]) -> Run:
        run, constants = self._run(left), self._constants(tuple(right.children))
        if word.upper() == "NIN":
            return lambda document: negate(among(run(document), constants))
        return lambda document: among(run(document), constants)

    def _calculated(self, left: Node, sign: Token, right: Node) -> Run:
        one, other, result = self._run(left), self._run(right), calculate(str(sign))
        return lambda document: result(one(document), other(document))

    def _minus(self, _sign: Token, node: Node) -> Run:
        run, result = self._run(node), calculate("-")
        return lambda document: result(0, run(document))

    # -- functions ---------------------------------------------------------------------------------------------------

    def _call(self, name: Token, _left: Token, *rest: Node | None) -> Run:
        function, given = name.upper(), [one for one in rest if isinstance(one, Tree)]
        if function == "IS_DEFINED":
            if len(given) != 1 or given[0].data != "attribute":
                fail(name, f"{name!s} takes one property", "write IS_DEFINED(tags.site)")
            run = self._run(given[0])
            return lambda document: run(document) is not UNDEFINED
        if function in _OF_ONE:
            self._takes(1, name, given)
            run, judge = self._run(given[0]), _OF_ONE[function]
            return lambda document: judge(run(document))
        if function == "ARRAY_CONTAINS":  # Azure CLI lists the children of an edge device with it
            self._takes(2, name, given)
            items, one = self._run(given[0]), self._run(given[1])
            return lambda document: _contains(items(document), one(document))
        if function in _OF_TWO_STRINGS:
            self._takes(2, name, given)
            return _of_two(_OF_TWO_STRINGS[function], self._run(given[0]), self._run(given[1]))
        return fail(name, f"there is no function {name!s} in conditions", f"there are {', '.join(_FUNCTIONS)}")

    @staticmethod
    def _takes(number: int, name: Token, given: list[Tree[Token]]) -> None:
        if len(given) != number:
            fail(name, f"{name!s} takes {number} argument{'s' * (number > 1)}, not {len(given)}")


def _of_two(judge: Callable[[str, str], bool], one: Run, other: Run) -> Run:
    def run(document: Document) -> Value:
        first, second = one(document), other(document)
        return judge(first, second) if isinstance(first, str) and isinstance(second, str) else UNDEFINED

    return run


def _contains(items: Value, one: Value) -> Value:
    return among(one, [item for item in items if is_primitive(item)]) if isinstance(items, list) else UNDEFINED


def _constantly(value: Value) -> Run:
    return lambda document: value


def _number(token: Token) -> int | float:
    return int(token) if token.isdigit() else float(token)


def unquote(token: Token) -> str:
    r"""What a quoted string says; only \' \" \\ and \uXXXX are escapes."""

    def plain(match: re.Match[str]) -> str:
        code, escaped = match.groups()
        if code:
            return chr(int(code, 16))
        if not escaped or escaped not in "'\"\\":
            fail(token, f"{match[0]} is no escape", r"there are \' \" \\ and \uXXXX")
        return str(escaped)

    return _ESCAPE.sub(plain, token[1:-1])


def fail(token: Token, problem: str, hint: str = "") -> NoReturn:
    """Raise what is wrong with a token."""
    raise QueryError(problem, line=token.line or 1, column=token.column or 1, hint=hint)
