"""`/feed`: what arrived upstream, for programs and people.

Rule: a reader keeps no state here; what it has not fetched waits in the inbox and in the log, so that a slow one costs
one page of memory, and what it is too slow for is counted in `missed`.
Sources: WHATWG HTML, "Server-sent events"; the JSON lines are those of ndjson.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.problems import responses
from gateway.backend import BackEnd
from gateway.upstream.event import as_event
from gateway.upstream.feed import MOST_EVENTS, Filter, Page

HEARTBEAT = 15.0  # seconds of the machine's clock; proxies and browsers give up on a silent stream after 30 to 60
LONGEST_WAIT = 1.0
JSON_LINES = "application/x-ndjson"
_STREAMED = 100  # messages in one write of a stream

Source = Literal["Telemetry", "twinChangeEvents", "deviceLifecycleEvents", "deviceConnectionStateEvents"]
After = Annotated[int, Field(ge=0)] | Literal["latest"]


class Wanted(BaseModel):
    """Which messages are wanted."""

    model_config = ConfigDict(extra="forbid")

    device: str | None = Field(default=None, description="only those of this device, or of `device/module`")
    source: Source | None = Field(default=None, description="only those of this source")

    @property
    def filter(self) -> Filter:
        """The same for the feed."""
        return Filter(self.device, self.source)


class Question(Wanted):
    """What a reader asks for."""

    after: After = Field(default=0, description="the `next` of the answer before, or `latest`")
    wait: float = Field(default=0, ge=0, description="seconds to wait while there is nothing; more than 1 is 1")
    limit: int = Field(default=MOST_EVENTS, ge=1, le=MOST_EVENTS, description="messages in the answer")


class StreamQuestion(Wanted):
    """What a reader of the stream asks for."""

    after: After = Field(default="latest", description="where to begin, unless Last-Event-ID says")


class FeedEvent(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="allow")

    deviceId: str
    moduleId: str | None
    source: str
    enqueuedTime: str
    sequence: int
    systemProperties: dict[str, str | int]
    properties: dict[str, str | None]
    body: str = Field(description="base64")


class FeedPage(BaseModel):
    """What has arrived behind a number."""

    next: int = Field(description="the number to go on with")
    events: list[FeedEvent]
    missed: int = Field(default=0, description="messages that were wanted too late: they are kept no more")


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["feed"])
    feed = gateway.upstream.feed

    def begin(after: int | Literal["latest"]) -> int:
        return feed.latest if after == "latest" else after

    @routes.get("/feed", response_model=FeedPage, responses={**responses(400, 500), 200: _LINES})
    async def read(question: Annotated[Question, Query()], request: Request) -> Response:
        """What arrived behind `after`; with `Accept: application/x-ndjson` one message per line."""
        wait = min(question.wait, LONGEST_WAIT)
        page = await feed.poll(begin(question.after), wait, question.filter, question.limit)
        if JSON_LINES in request.headers.get("accept", ""):
            text = "".join(f"{_text(as_event(event))}\n" for event in page.events)
            return Response(text, media_type=JSON_LINES, headers={"X-Next": str(page.next)})
        return Response(_page(page), media_type="application/json")

    @routes.get("/feed/stream", responses={**responses(400), 200: _STREAM}, response_class=StreamingResponse)
    async def stream(
        question: Annotated[StreamQuestion, Query()],
        last_event_id: Annotated[int | None, Header(ge=0, description="goes on behind this message")] = None,
    ) -> StreamingResponse:
        """The same as server-sent events, without end."""

        async def events() -> AsyncIterator[str]:
            after = begin(question.after) if last_event_id is None else last_event_id
            yield "retry: 1000\n\n"
            while True:
                page = await feed.poll(after, HEARTBEAT, question.filter, _STREAMED)
                after = page.next
                yield _frames(page)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes


_LINES: dict[str, Any] = {"content": {JSON_LINES: {"schema": {"type": "string"}}}}
_STREAM: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _page(page: Page) -> str:
    missed = {"missed": page.missed} if page.missed else {}
    return _text({"next": page.next, "events": [as_event(event) for event in page.events], **missed})


def _frames(page: Page) -> str:
    """Messages as events; nothing new is a comment, so that both sides notice when the other is gone."""
    missed = f'event: missed\ndata: {{"missed":{page.missed}}}\n\n' if page.missed else ""
    events = "".join(f"id: {event.sequence}\ndata: {_text(as_event(event))}\n\n" for event in page.events)
    return missed + events or ": nothing new\n\n"
