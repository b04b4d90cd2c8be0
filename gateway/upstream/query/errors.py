"""A query that cannot be answered."""

from __future__ import annotations

from gateway.errors import ServiceError


class QueryError(ServiceError):
    """What is wrong with a query, and where: `line` and `column` count from 1.

    The text is IoT Hub's own (Azure/azure-iot-sdk-csharp, issue 40).
    """

    def __init__(self, problem: str, *, line: int = 1, column: int = 1, hint: str = "") -> None:
        self.problem = problem
        self.line = line
        self.column = column
        where = f"Line {line}:{column} {problem}" + (f" ({hint})" if hint else "")
        super().__init__(400, "ArgumentInvalid", f"SQL query parse failed due to following errors: \n\t{where}")
        self.hint = hint
