"""From the text of a route to a Route.

Sources: Route.g4, RouteFactory.cs (with RouteFactoryTest.cs) and EndpointFactory.cs of Azure/iotedge.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from lark import Lark, Token, Tree, UnexpectedInput, UnexpectedToken

from gateway.hub.routing.compiler import Compiler, unquote
from gateway.hub.routing.errors import RouteError
from gateway.hub.routing.lexer import RouteLexer, tokens
from gateway.hub.routing.route import DEFAULT_PRIORITY, Input, Route, Sink, Upstream, always
from gateway.hub.routing.source import TWIN_CHANGES

#: what people wrote, or may write, for each terminal, where its name says too little
_SPELLED = {
    "SLASH": "/", "STAR": "*", "LPAR": "(", "RPAR": ")", "SYSTEM": "$upstream or a $property", "NAME": "a name",
    "STRING": "a quoted text", "LBRACE": "{", "RBRACE": "}", "COMMA": ",", "INTEGER": "a number",
}  # fmt: skip
_OPERATORS = {"EQ", "NE", "LE", "GE", "GT", "LT", "CONCAT", "COALESCE", "PLUS", "MINUS", "PERCENT", "AND", "OR", "NOT"}
_VALUES = {"REAL", "HEX", "TRUE", "FALSE", "NULL", "UNDEFINED"}


def compile_route(text: str, *, priority: int = DEFAULT_PRIORITY, time_to_live: int = 0) -> Route:
    """Read a route; RouteError tells line, column and what was expected."""
    try:
        (tree,) = _parser().parse(text).find_data("route")
    except UnexpectedInput as error:
        raise _explained(text, error) from None
    source, *where, sink = (part for part in tree.children if isinstance(part, Tree))
    path = "".join(map(str, source.children)).lower().rstrip("*").rstrip("/") + "/"
    compiler = Compiler(text, twin_changes=path.startswith(TWIN_CHANGES))
    meets = compiler.condition(where[0].children[1]) if where else always
    return Route(text, path, _sink(text, sink), meets, priority, time_to_live, compiler.reads_body)


@cache
def _parser() -> Lark:
    grammar = files("gateway.hub.routing").joinpath("route.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer=RouteLexer, maybe_placeholders=False, keep_all_tokens=True)


def _sink(text: str, tree: Tree[Token]) -> Sink:
    name = tree.children[0]
    assert isinstance(name, Token)
    at = {"line": name.line or 1, "column": name.column or 1}
    if tree.data == "system_sink":
        if name.lower() != "$upstream":
            raise RouteError(f"there is no endpoint {name!s}", text, hint="write INTO $upstream", **at)
        return Upstream()
    if name.lower() != "brokeredendpoint":
        hint = 'write BrokeredEndpoint("/modules/NAME/inputs/INPUT")'
        raise RouteError(f"there is no endpoint {name!s}", text, hint=hint, **at)
    address = unquote(str(tree.children[2])).strip().removeprefix("/").removesuffix("/")
    parts = address.split("/")
    if len(parts) != 4 or not parts[1].strip() or not parts[3].strip():  # the product looks at no more
        raise RouteError(f"{address!r} is no input of a module", text, hint="write /modules/NAME/inputs/INPUT", **at)
    return Input(parts[1], parts[3])


def _explained(text: str, error: UnexpectedInput) -> RouteError:
    token = error.token if isinstance(error, UnexpectedToken) else None
    if token is None or token.type == "$END":
        last = list(tokens(text))[-1:]
        line, column = (last[0].end_line or 1, last[0].end_column or 1) if last else (1, 1)
        problem = "the route ends too early" if last else "there is no route"
    else:
        line, column = token.line or 1, token.column or 1
        if token.type == "UNTERMINATED":
            return RouteError(
                "the text is not closed", text, line=line, column=column, hint="end it with the same quote"
            )
        problem = f"{token!s} does not belong here"
    return RouteError(problem, text, line=line, column=column, hint=_expected(error))


def _expected(error: UnexpectedInput) -> str:
    wanted = set(getattr(error, "expected", None) or getattr(error, "accepts", None) or ())
    words = sorted(_SPELLED.get(one, one) for one in wanted - _OPERATORS - _VALUES)
    if wanted & _OPERATORS and not wanted & _VALUES:
        words.append("an operator")
    return f"expected {' or '.join(words)}" if words else ""
