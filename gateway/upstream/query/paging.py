"""Queries in pages, with tokens that continue them.

Rules: the order of results is that of their keys, so that a page continues where the one before it ended, whatever
came or went meanwhile. A token is of use for the very query that it was given for, and only as it was given.
Sources: IoT Hub REST API, "Query - Get Twins" (x-ms-max-item-count, x-ms-continuation, x-ms-item-type); "Queries for
IoT Hub device and module twins" (pages of up to 100).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import ServiceError
from gateway.upstream.query.parser import JOBS, Query, parse_query
from gateway.upstream.query.rows import aggregate, project

MOST_ITEMS = 100
_SIGNATURE = 16  # bytes


class Documents(Protocol):
    """Documents with keys that sort."""

    def keys(self) -> Sequence[str]:
        """The keys of all documents, sorted."""

    def view(self, key: str, names: Collection[str], *, metadata: bool) -> Mapping[str, Any] | None:
        """The properties with these names, $metadata only if that is wanted; None when the document is gone."""

    def document(self, key: str) -> dict[str, Any]:
        """The whole document, as the REST API gives it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some results, what they are (Twin, DeviceJob, JobResponse, Raw), and how to ask for more if there are more."""

    items: list[dict[str, Any]]
    item_type: str
    continuation: str | None = None


class Tokens:
    """Makes continuation tokens and reads them; `secret` signs them."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)

    def write(self, text: str, after: str | int, served: int) -> str:
        """A token for the query `text`, `served` of whose results have been given, the last one being `after`."""
        body = json.dumps([_digest(text), after, served], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(body) + body).decode().rstrip("=")

    def read(self, text: str, token: str) -> tuple[str | int, int]:
        """What `write` was given. Raises ServiceError for a token that is not of this query."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _refused("it was not given by this hub") from None
        signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise _refused("it was not given by this hub, or the hub has restarted since")
        digest, after, served = json.loads(body)
        if digest != _digest(text):
            raise _refused("it continues another query")
        return after, served

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")[:_SIGNATURE]


class Queries:
    """Answers queries over `collections`, by the name that stands after FROM."""

    def __init__(self, collections: Mapping[str, Documents], tokens: Tokens | None = None) -> None:
        self._collections = collections
        self.tokens = tokens or Tokens()

    def page(self, text: str, *, max_items: int = MOST_ITEMS, continuation: str | None = None) -> Page:
        """One page of results. Raises QueryError for a query that cannot be read, ServiceError for another's token."""
        query = parse_query(text)
        most = min(max_items, MOST_ITEMS)
        after, served = self.tokens.read(text, continuation) if continuation else ("", 0)
        left = most if query.top is None else min(most, query.top - served)
        if query.aggregates:
            return self._rows(query, int(after or 0), left)
        return self._documents(query, str(after), left, served)

    def keys(self, query: Query, after: str = "") -> Iterator[str]:
        """The keys of the documents that meet a query, in order."""
        return (key for key, _ in self._matching(query, after))

    def _matching(self, query: Query, after: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
        collection, names, metadata = self._collections[query.collection], query.names, query.metadata
        keys = collection.keys()
        for key in keys[bisect_right(keys, after) :] if after else keys:
            view = collection.view(key, names, metadata=metadata)
            if view is not None and (query.meets is None or query.meets(view)):
                yield key, view

    def count(self, query: Query) -> int:
        """How many rows a query has, whatever its TOP."""
        return len(self._aggregated(query)) if query.aggregates else sum(1 for _ in self._matching(query))

    def _documents(self, query: Query, after: str, left: int, served: int) -> Page:
        found: list[tuple[str, Mapping[str, Any]]] = []
        more = False
        for match in self._matching(query, after):
            if len(found) == left:
                more = query.top is None or served + left < query.top
                break
            found.append(match)
        token = self.tokens.write(query.text, found[-1][0], served + left) if more else None
        if query.items:
            return Page([project(query.items, view) for _, view in found], "Raw", token)
        document = self._collections[query.collection].document
        kind = "DeviceJob" if query.collection == JOBS else "Twin"
        return Page([document(key) for key, _ in found], kind, token)

    def _rows(self, query: Query, start: int, left: int) -> Page:
        rows = self._aggregated(query)[: query.top]
        end = start + left
        return Page(rows[start:end], "Raw", self.tokens.write(query.text, end, end) if end < len(rows) else None)

    def _aggregated(self, query: Query) -> list[dict[str, Any]]:
        return aggregate(query, (view for _, view in self._matching(query)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _refused(why: str) -> ServiceError:
    return ServiceError(400, "ArgumentInvalid", f"The continuation token is invalid: {why}.")
