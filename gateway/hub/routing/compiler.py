"""From the tree of a condition to a function that judges messages.

Rule: operands are checked here, once, as the product does when routes change; afterwards nothing can go wrong any
more, a condition only comes out true, false or undefined.
Source: ConditionVisitor.cs of Azure/iotedge. What looks odd is its own: NOT binds tighter than a comparison; a value
from the body stands to the right of AND or OR only when another one stands to the left.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from lark import Token, Tree

from gateway.hub.routing.errors import RouteError
from gateway.hub.routing.functions import FUNCTIONS
from gateway.hub.routing.subject import Path, Subject, parse_path
from gateway.hub.routing.values import (
    NULL,
    UNDEFINED,
    Kind,
    Value,
    both,
    compare_any,
    compare_same,
    either,
    fits,
    is_defined,
)

Run = Callable[[Subject], Value]
_BODY = "$body."
_TWIN_PATHS = ("properties.reported.", "properties.desired.", "tags.")
_LOGICAL = (Kind.NULL, Kind.BOOL, Kind.UNDEFINED, Kind.ANY)


@dataclass(frozen=True)
class Term:
    """Part of a condition: what kind of value it has, and how to get it; `constant` if it is always the same."""

    kind: Kind
    run: Run
    constant: Value = None


class Compiler:
    """Compiles one route's condition; `text` is the whole route, for errors."""

    def __init__(self, text: str, *, twin_changes: bool = False) -> None:
        self._text = text
        self._twin_changes = twin_changes
        self.reads_body = False

    def condition(self, tree: Tree[Token] | Token) -> Callable[[Subject], bool]:
        """Return whether a message meets the condition; what is undefined is not met."""
        run = _truth(self._term(tree))
        return lambda subject: run(subject) is True

    def _term(self, node: Tree[Token] | Token) -> Term:
        assert isinstance(node, Tree)
        term: Term = getattr(self, f"_{node.data}")(*node.children)
        return term

    # --- literals and properties ------------------------------------------------------------------------------------

    def _true(self, _token: Token) -> Term:
        return _constant(Kind.BOOL, True)

    def _false(self, _token: Token) -> Term:
        return _constant(Kind.BOOL, False)

    def _null(self, _token: Token) -> Term:
        return _constant(Kind.NULL, NULL)

    def _undefined(self, _token: Token) -> Term:
        return _constant(Kind.UNDEFINED, UNDEFINED)

    def _number(self, token: Token) -> Term:
        return _constant(Kind.NUMBER, float(token))

    def _hexadecimal(self, token: Token) -> Term:
        return _constant(Kind.NUMBER, float(int(token, 16)))

    def _string(self, token: Token) -> Term:
        return _constant(Kind.STRING, unquote(token))

    def _nested(self, _left: Token, tree: Tree[Token], _right: Token) -> Term:
        return self._term(tree)

    def _property(self, token: Token) -> Term:
        name = token.lower()
        return Term(Kind.STRING, lambda subject: subject.property(name))

    def _system_property(self, token: Token) -> Term:
        """Read `$name`: an application property of that very name comes first, then body or system property."""
        name = token.lower()
        if not name.startswith(_BODY):
            if "[" in name or "]" in name:
                return _constant(Kind.UNDEFINED, UNDEFINED)
            system = name[1:]
            return Term(Kind.STRING, lambda subject: subject.property(name, subject.system(system)))
        path = self._path(token)
        if "[" in name:
            return Term(Kind.ANY, lambda subject: subject.body(path))
        return Term(Kind.ANY, lambda subject: subject.property_or_body(name, path))

    def _escaped_property(self, _left: Token, token: Token, _right: Token) -> Term:
        name = token.lower()
        if name.startswith(_BODY):
            path = self._path(token)
            return Term(Kind.ANY, lambda subject: subject.body(path))
        return Term(Kind.STRING, lambda subject: subject.system(name[1:]))

    def _path(self, token: Token) -> Path:
        self.reads_body = True
        path = parse_path(token[len(_BODY) :])
        if path is None:
            self._fail(
                token, f"{token!s} is not a path into the body", "write it as $body.temperature or $body.list[0].name"
            )
        return path

    # --- operators --------------------------------------------------------------------------------------------------

    def _minus(self, sign: Token, tree: Tree[Token]) -> Term:
        term = self._term(tree)
        if term.kind is not Kind.NUMBER:
            self._operands(sign, "a number", term)
        run = term.run
        return Term(Kind.NUMBER, lambda subject: _number_or_undefined(operator.neg, run(subject)))

    def _negated(self, word: Token, tree: Tree[Token]) -> Term:
        term = self._term(tree)
        if term.kind is Kind.NULL:
            return _constant(Kind.BOOL, True)
        if not fits(Kind.BOOL, term.kind):
            self._operands(word, "a bool", term)
        run = _truth(term)
        return Term(Kind.BOOL, lambda subject: _not(run(subject)))

    def _calculated(self, left: Tree[Token], sign: Token, right: Tree[Token]) -> Term:
        one, other = self._term(left), self._term(right)
        allowed = (Kind.NUMBER,) if sign == "%" else (Kind.NUMBER, Kind.ANY)
        if one.kind not in allowed or other.kind not in allowed:
            self._operands(sign, "numbers", one, other)
        kind = Kind.ANY if Kind.ANY in (one.kind, other.kind) else Kind.NUMBER
        calculate, first, second = _CALCULATE[sign], one.run, other.run
        return Term(kind, lambda subject: _number_or_undefined(calculate, first(subject), second(subject)))

    def _joined(self, left: Tree[Token], sign: Token, right: Tree[Token]) -> Term:
        one, other = self._term(left), self._term(right)
        if not (fits(Kind.STRING, one.kind) and fits(Kind.STRING, other.kind)):
            self._operands(sign, "strings", one, other)
        return self._called("concat", sign, [one, other])

    def _compared(self, left: Tree[Token], sign: Token, right: Tree[Token]) -> Term:
        one, other = self._term(left), self._term(right)
        if not fits(one.kind, other.kind):
            self._operands(sign, "operands of one kind", one, other)
        any_kind = Kind.ANY in (one.kind, other.kind)
        compare = (compare_any if any_kind else compare_same)(sign)
        first, second = one.run, other.run
        if other.constant is not None:
            value = other.constant
            return Term(Kind.BOOL, lambda subject: compare(first(subject), value))
        return Term(Kind.BOOL, lambda subject: compare(first(subject), second(subject)))

    def _both_of(self, left: Tree[Token], word: Token, right: Tree[Token]) -> Term:
        one, other = self._logical(left, word, right)
        if Kind.NULL in (one.kind, other.kind):
            return _constant(Kind.NULL, NULL)
        return self._joint(both, one, other)

    def _either_of(self, left: Tree[Token], word: Token, right: Tree[Token]) -> Term:
        one, other = self._logical(left, word, right)
        if one.kind is Kind.NULL:
            return other
        return one if other.kind is Kind.NULL else self._joint(either, one, other)

    def _joint(self, join: Callable[[Value, Value], Value], one: Term, other: Term) -> Term:
        first, second = _truth(one), _truth(other)
        if Kind.ANY in (one.kind, other.kind):  # QueryValue's operators know no third value

            def strict(subject: Subject) -> Value:
                left, right = first(subject), second(subject)
                return UNDEFINED if left is UNDEFINED or right is UNDEFINED else join(left, right)

            return Term(Kind.BOOL, strict)
        return Term(Kind.BOOL, lambda subject: join(first(subject), second(subject)))

    def _logical(self, left: Tree[Token], word: Token, right: Tree[Token]) -> tuple[Term, Term]:
        one, other = self._term(left), self._term(right)
        if one.kind is Kind.ANY:
            if Kind.NULL is other.kind:
                self._operands(word, "bools", one, other)
        elif one.kind not in _LOGICAL or other.kind not in _LOGICAL[:3]:
            hint = "write the value from the body first" if other.kind is Kind.ANY and one.kind in _LOGICAL else ""
            self._operands(word, "bools", one, other, hint=hint)
        return one, other

    def _coalesced(self, left: Tree[Token], sign: Token, right: Tree[Token]) -> Term:
        one, other = self._term(left), self._term(right)
        if not fits(one.kind, other.kind):
            self._operands(sign, "operands of one kind", one, other)
        kind = Kind.ANY if Kind.ANY in (one.kind, other.kind) else one.kind
        first, second = one.run, other.run

        def run(subject: Subject) -> Value:
            value = first(subject)
            return value if is_defined(value) else second(subject)

        return Term(kind, run)

    # --- functions --------------------------------------------------------------------------------------------------

    def _call(self, name: Token, left: Token, *rest: Tree[Token] | Token | None) -> Term:
        given = [one for one in rest if isinstance(one, Tree)]
        if name.lower() == "twin_change_includes":
            return self._twin_change_includes(name, self._text[left.end_pos : rest[-1].start_pos])  # type: ignore[union-attr]
        if name.lower() not in FUNCTIONS:
            self._fail(
                name, f"there is no function {name!s}", f"there are {', '.join(FUNCTIONS)}, twin_change_includes"
            )
        return self._called(name.lower(), name, [self._term(one) for one in given])

    def _called(self, function: str, where: Token, given: list[Term]) -> Term:
        kinds = [one.kind for one in given]
        signature = next((one for one in FUNCTIONS[function] if one.accepts(kinds)), None)
        if signature is None:
            named = ", ".join(kind.value for kind in kinds) or "nothing"
            wanted = " or ".join(_arguments(one.takes, one.more) for one in FUNCTIONS[function])
            self._fail(where, f"{function} does not take {named}", f"it takes {wanted}")
        call, runs = signature.run, [one.run for one in given]
        if len(runs) == 1:
            only = runs[0]
            return Term(signature.gives, lambda subject: call(only(subject)))
        return Term(signature.gives, lambda subject: call(*[one(subject) for one in runs]))

    def _twin_change_includes(self, name: Token, written: str) -> Term:
        """Read the argument as text: a path into the change, `properties.reported.fan` or `tags.site`."""
        if not self._twin_changes:
            self._fail(name, "twin_change_includes is for routes FROM /twinChangeNotifications")
        self.reads_body = True
        argument = re.sub(r"\s", "", written)
        path = parse_path(argument)
        if path is None or not argument.lower().startswith(_TWIN_PATHS) or "[" in argument:
            hint = "write twin_change_includes(properties.reported.fan)"
            self._fail(name, f"{argument or 'nothing'} is no path into a twin", hint)

        def run(subject: Subject) -> Value:
            return subject.includes(path)

        return Term(Kind.BOOL, run)

    # --- errors -----------------------------------------------------------------------------------------------------

    def _operands(self, where: Token, wanted: str, *given: Term, hint: str = "") -> NoReturn:
        have = " and ".join(one.kind.value for one in given)
        if not hint and {one.kind for one in given} == {Kind.STRING, Kind.NUMBER}:
            hint = "properties are text: write as_number(name)"
        self._fail(where, f"{where!s} wants {wanted}, not {have}", hint)

    def _fail(self, where: Token, problem: str, hint: str = "") -> NoReturn:
        raise RouteError(problem, self._text, line=where.line or 1, column=where.column or 1, hint=hint)


def unquote(token: str) -> str:
    """Return what a quoted string says."""
    inner = re.sub(r"\\[Uu]([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), token[1:-1])
    return re.sub(r"\\([\"'\\])", r"\1", inner)


def _constant(kind: Kind, value: Value) -> Term:
    return Term(kind, lambda subject: value, value)


def _truth(term: Term) -> Run:
    """Read a term as one of three values; text and numbers are undefined, and so is null in a body."""
    run = term.run
    if term.kind is Kind.BOOL:
        return run
    if term.kind is Kind.NULL:
        return lambda subject: False
    if term.kind is Kind.ANY:
        return lambda subject: _bool_or_undefined(run(subject))
    return lambda subject: UNDEFINED


def _bool_or_undefined(value: Value) -> Value:
    return value if value is True or value is False else UNDEFINED


def _not(value: Value) -> Value:
    return UNDEFINED if value is UNDEFINED else not value


def _number_or_undefined(calculate: Callable[..., float], *numbers: Value) -> Value:
    return calculate(*numbers) if all(isinstance(one, float) for one in numbers) else UNDEFINED


def _divided(dividend: float, divisor: float) -> float:
    if divisor:
        return dividend / divisor
    return (
        math.nan
        if not dividend or math.isnan(dividend)
        else math.copysign(math.inf, dividend) * math.copysign(1, divisor)
    )


def _remainder(dividend: float, divisor: float) -> float:
    return math.fmod(dividend, divisor) if divisor and math.isfinite(dividend) else math.nan


_CALCULATE: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "%": _remainder,
}


def _arguments(takes: tuple[Kind, ...] | None, more: bool) -> str:
    if takes is None:
        return "one argument"
    return f"({', '.join(kind.value for kind in takes)}{', ...' if more else ''})"
