"""A route that cannot be used."""

from __future__ import annotations

from gateway.errors import GatewayError


class RouteError(GatewayError):
    """What is wrong with a route, and where: `line` and `column` count from 1."""

    def __init__(self, problem: str, text: str, *, line: int = 1, column: int = 1, hint: str = "") -> None:
        self.problem = problem
        self.text = text
        self.line = line
        self.column = column
        super().__init__(f"{line}:{column}: {problem}", hint)
