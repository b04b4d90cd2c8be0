"""`clock: +31d`: time passes for everybody; `clock: {gateway: +2h}`: the gateway's clock alone is set.

Connections notice nothing. What TLS stacks see of the first is certificates that are older by that much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.fields import Strict, duration, seconds, shorthand
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


def _signed(value: object) -> float:
    if not isinstance(value, str) or value[:1] not in ("+", "-"):
        raise PydanticCustomError("clock", "the clock moves forth or back; write a duration with its sign: +1h or -1h")
    return seconds(value[1:]) * (-1 if value[0] == "-" else 1)


Signed = Annotated[float, BeforeValidator(_signed, json_schema_input_type=str)]


class Move(Strict):
    """Whose clock is moved, and how far."""

    everybody: Signed | None = Field(default=None, description="time passes: +31d")
    gateway: Signed | None = Field(default=None, description="the gateway's clock is set, as NTP does: +2h")

    @model_validator(mode="after")
    def _one(self) -> Move:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("one", "name `everybody` or `gateway`; two moves are two steps")
        return self

    @property
    def distance(self) -> float:
        """How far, in seconds."""
        return (self.everybody or 0) + (self.gateway or 0)

    def __str__(self) -> str:
        """The move as one would write it."""
        far = f"{'-' if self.distance < 0 else '+'}{duration(abs(self.distance))}"
        return far if self.gateway is None else f"{far} at the gateway"


class Clock(Play):
    """Time passes, or a clock is set."""

    clock: Annotated[Move, shorthand(lambda far: {"everybody": far}, str | Move)] = Field(
        description="how far time goes on, for everybody: +1h; or only the gateway's clock: {gateway: +1h}"
    )

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"clock {self.clock}"

    async def play(self, stage: Stage) -> None:
        """Move the clock, and let the gateway do what is due."""
        stage.timeline.add("clock", str(self.clock))
        if self.clock.gateway is None:
            stage.clock.advance(self.clock.distance)
            stage.age_leaves()
        else:
            stage.clock.step(self.clock.distance)
        await stage.gateway.settled()
