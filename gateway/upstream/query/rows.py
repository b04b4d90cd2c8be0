"""What a query gives for the documents that meet it: whole documents, projections, or one row for each group.

Rule: what a document does not have is left out of its row.
Source: "IoT Hub query language for device and module twins, jobs, and message routing" (SELECT, GROUP BY).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.upstream.query.conditions import Document
from gateway.upstream.query.parser import Item, Query
from gateway.upstream.query.values import UNDEFINED, Value, at, is_number, is_primitive


def project(items: Sequence[Item], document: Document) -> dict[str, Any]:
    """The row of one document."""
    found = ((item.name, at(document, item.path)) for item in items)
    return {name: value for name, value in found if value is not UNDEFINED}


def aggregate(query: Query, documents: Iterable[Document]) -> list[dict[str, Any]]:
    """One row for each group, in the order in which they are met; a single one without GROUP BY."""
    groups: dict[str, list[Document]] = {} if query.group_by else {"": []}
    for document in documents:
        value = UNDEFINED if query.group_by is None else at(document, query.group_by)
        groups.setdefault("" if value is UNDEFINED else json.dumps(value, sort_keys=True), []).append(document)
    return [_row(query, members) for members in groups.values()]


def _row(query: Query, members: Sequence[Document]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in query.items:
        value = at(members[0], item.path) if item.aggregate is None else _aggregate(item, members)
        if value is not UNDEFINED:
            row[item.name] = value
    return row


def _aggregate(item: Item, members: Sequence[Document]) -> Value:
    if item.aggregate == "COUNT":
        return len(members)
    values = [at(document, item.path) for document in members]
    numbers = [value for value in values if is_number(value)]
    if item.aggregate in {"MIN", "MAX"} and not numbers:
        numbers = [value for value in values if isinstance(value, str) and is_primitive(value)]
    if not numbers:
        return UNDEFINED
    match item.aggregate:
        case "AVG":
            return sum(numbers) / len(numbers)
        case "SUM":
            return sum(numbers)
        case "MIN":
            return min(numbers)
        case _:
            return max(numbers)
