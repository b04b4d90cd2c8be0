"""`/devices/query`: IoT Hub's query language over twins and jobs.

Source: IoT Hub REST API, "Query - Get Twins" (the page's size and its continuation are headers).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway.errors import HubCode, ServiceError
from gateway.upstream.policies import Permission
from gateway.upstream.query import Page
from gateway.upstream.query.paging import MOST_ITEMS
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.identities import Body
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["query"])
MaxItems = Annotated[str | None, Header(alias="x-ms-max-item-count")]
Continuation = Annotated[str | None, Header(alias="x-ms-continuation")]
#: "Device twins": queries need ServiceConnect; back ends that keep the registry ask it, too
READ = needs(Permission.SERVICE_CONNECT, Permission.REGISTRY_READ)


class QueryBody(Body):
    """What is asked."""

    query: str


@router.post("/devices/query", dependencies=[READ])
async def query_twins(
    asked: Asked, body: QueryBody, max_items: MaxItems = None, continuation: Continuation = None
) -> Response:
    """One page of results; x-ms-item-type says what they are."""
    queries = asked.hub.management.queries
    return paged(queries.page(body.query, max_items=page_size(max_items), continuation=continuation or None))


def page_size(text: str | None) -> int:
    """How many items somebody wants; the hub's own number unless they say. Raises ServiceError."""
    if not text:
        return MOST_ITEMS
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        code = HubCode.ArgumentInvalid
        raise ServiceError(code.status, code.name, f"x-ms-max-item-count is {text!r}; it has to be a positive number")
    return int(text[:9])


def paged(page: Page) -> Response:
    """A page as it is answered."""
    headers = {"x-ms-item-type": page.item_type}
    if page.continuation is not None:
        headers["x-ms-continuation"] = page.continuation
    return reply(page.items, headers=headers)
