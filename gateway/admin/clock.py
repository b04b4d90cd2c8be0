"""`/clock`: what time it is for the gateway, and letting it pass.

Rule: what moves is what the hub decides by time: expiry of tokens and messages, re-authentication, refreshes, retries,
renewal of certificates. Sockets, keep-alive and TLS live by the machine's clock, which nobody moves.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from certs import CertsError
from gateway.admin.problems import RefusedError, responses
from gateway.backend import BackEnd
from gateway.clock import ManualClock

_FURTHEST = 100 * 365 * 86_400  # a hundred years: dates stay such that certificates can have them
_DURATION = re.compile(r"([+-]?)(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def _seconds(value: object) -> float:
    """Seconds of `+2h`, `-90s` or a number."""
    if isinstance(value, str) and (found := _DURATION.match(value.strip())):
        sign, number, unit = found.groups()
        value = float(number) * _SECONDS[unit] * (-1 if sign == "-" else 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("write seconds as a number, or a duration with its unit: 500ms, 30s, 5m, +2h, 1d")
    if abs(value) > _FURTHEST:
        raise ValueError("no further than a hundred years")
    return float(value)


Far = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=float | str)]


class Move(BaseModel):
    """How the clock is moved: one of the two."""

    model_config = ConfigDict(extra="forbid")

    advance: Far | None = Field(default=None, description="time passes for everybody: seconds, or as in +2h")
    step: Far | None = Field(default=None, description="the gateway's clock alone is set, as NTP does: -30s")


class Time(BaseModel):
    """What time it is for the gateway."""

    now: datetime
    timestamp: float = Field(description="the same in seconds since 1970 UTC")
    passed: float = Field(description="seconds that have been made to pass for everybody")
    ahead: float = Field(description="seconds by which the gateway's clock is ahead of the machine's")
    movable: bool


def router(gateway: BackEnd) -> APIRouter:
    """The routes for one gateway."""
    routes = APIRouter(tags=["clock"])

    @routes.get("/clock")
    async def show() -> Time:
        """What time it is."""
        return _time(gateway)

    @routes.post("/clock", responses=responses(400, 409))
    async def move(move: Move) -> Time:
        """Move the clock; the answer comes when everything that is due by then has been done."""
        clock = gateway.clock
        if not isinstance(clock, ManualClock):
            hint = "start it with `leafgate up`, or as Gateway(clock=MovableClock())"
            raise RefusedError(409, "this gateway lives by the machine's clock, which nobody can move", hint)
        if (move.advance is None) == (move.step is None):
            raise RefusedError(400, "name `advance` or `step`, one of them", "two moves are two requests")
        try:
            if move.step is not None:
                clock.step(move.step)
            elif move.advance is not None:
                _advance(clock, move.advance)
        except CertsError as wrong:
            raise RefusedError(409, f"the certificates cannot age: {wrong.message}", wrong.hint) from None
        await gateway.settled()
        return _time(gateway)

    return routes


def _advance(clock: ManualClock, seconds: float) -> None:
    if seconds < 0:
        raise RefusedError(400, "time does not run backwards for everybody", "`step` sets the gateway's clock alone")
    clock.advance(seconds)


def _time(gateway: BackEnd) -> Time:
    clock = gateway.clock
    now = clock.now()
    return Time(
        now=datetime.fromtimestamp(now, UTC),
        timestamp=now,
        passed=clock.passed(),
        ahead=round(now - datetime.now(UTC).timestamp(), 3),
        movable=isinstance(clock, ManualClock),
    )
