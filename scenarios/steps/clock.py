"""`clock: +1h`: the hub's time moves on; connections, certificates and the leaves' own clocks notice nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from scenarios.fields import duration, seconds
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


def _forward(value: object) -> float:
    if not isinstance(value, str) or not value.startswith("+"):
        raise PydanticCustomError("clock", "the clock only goes forward; write a duration with a plus: +1h")
    return seconds(value[1:])


class Clock(Play):
    """The hub's time moves on."""

    clock: Annotated[float, BeforeValidator(_forward, json_schema_input_type=str)] = Field(description="how far: +1h")

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"clock +{duration(self.clock)}"

    async def play(self, stage: Stage) -> None:
        """Move the clock."""
        stage.clock.advance(self.clock)
        stage.timeline.add("clock", f"the gateway's clock goes {duration(self.clock)} ahead")
