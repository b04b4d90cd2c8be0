"""Tokens of the route language, by longest match; among equally long ones the first of the list wins.

Rule: this is how ANTLR reads GrammarLexer.g4, and it shows: a name may contain nearly anything, so `3-4` is one name
and `'a'||'b'` is too, `key!='x'` compares `key!`, and a dash wants blanks around it.
Source: edge-hub/core/src/Microsoft.Azure.Devices.Routing.Core/grammar/GrammarLexer.g4 of Azure/iotedge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

_ESCAPE = r"\\(?:[\"'\\]|u[0-9a-fA-F]{4})"
_EXPONENT = r"[Ee][+-]?[0-9]+"

#: name -> pattern, in the order of the product's lexer
TERMINALS = {
    "SELECT": r"(?i:select)",
    "FROM": r"(?i:from)",
    "WHERE": r"(?i:where)",
    "INTO": r"(?i:into)",
    "STRING": rf"\"(?:{_ESCAPE}|[^\"\\])*\"|'(?:{_ESCAPE}|[^'\\])*'",
    "UNTERMINATED": rf"\"(?:{_ESCAPE}|[^\"\\])*|'(?:{_ESCAPE}|[^'\\])*",
    "INTEGER": r"-?[0-9]+",
    "HEX": r"0[Xx][0-9a-fA-F]+",
    "REAL": rf"-?[0-9]*\.[0-9]+(?:{_EXPONENT})?|-?[0-9]*{_EXPONENT}",
    "TRUE": r"true",
    "FALSE": r"false",
    "NULL": r"null",
    "UNDEFINED": r"undefined",
    "LPAR": r"\(",
    "RPAR": r"\)",
    "COMMA": r",",
    "PLUS": r"\+",
    "MINUS": r"-",
    "STAR": r"\*",
    "SLASH": r"/",
    "PERCENT": r"%",
    "AND": r"(?i:and)",
    "OR": r"(?i:or)",
    "NOT": r"(?i:not)",
    "EQ": r"=",
    "NE": r"!=|<>",
    "LE": r"<=",
    "GE": r">=",
    "GT": r">",
    "LT": r"<",
    "CONCAT": r"\|\|",
    "COALESCE": r"\?\?",
    "LBRACE": r"\{",
    "RBRACE": r"\}",
    "SYSTEM": r"\$[^()<>@,;:\\\"/?={} \t\n\r]+",
    "NAME": r"[^()<>@,;:\\\"/\[\]?={} \t\n\r]+",
    "PATH": r"[^()<>@,;:\\\"/?={} \t\n\r]+",
    "UNKNOWN": r".",
}
_PATTERNS = [(name, re.compile(pattern, re.DOTALL)) for name, pattern in TERMINALS.items()]
_SKIPPED = re.compile(r"[ \t\r\n]+|/\*.*?\*/", re.DOTALL)


class RouteLexer(Lexer):
    """The lexer as lark wants it; nothing after the sink is read, as the product reads nothing after it."""

    def __init__(self, lexer_conf: Any) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any = None) -> Iterator[Token]:
        """Yield the tokens up to the end of the sink."""
        sink: list[str] = []
        seen_into = False
        for token in tokens(getattr(lexer_state, "text", lexer_state)):
            yield token
            if seen_into:
                sink.append(token.type)
                if sink[0] == "SYSTEM" or len(sink) == 4:
                    return
            seen_into = seen_into or token.type == "INTO"


def tokens(text: str) -> Iterator[Token]:
    """Yield every token with its line and column, both from 1."""
    position, line, start_of_line = 0, 1, 0
    while position < len(text):
        skipped = _SKIPPED.match(text, position)
        name, end = ("", skipped.end()) if skipped else _longest(text, position)
        column = position - start_of_line + 1
        piece = text[position:end]
        if name:
            yield Token(name, piece, position, line, column, line, column + len(piece), end)
        breaks = piece.count("\n")
        if breaks:
            line += breaks
            start_of_line = position + piece.rfind("\n") + 1
        position = end


def _longest(text: str, position: int) -> tuple[str, int]:
    best, end = "", position
    for name, pattern in _PATTERNS:
        match = pattern.match(text, position)
        if match and match.end() > end:
            best, end = name, match.end()
    return best, end
