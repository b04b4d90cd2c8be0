"""`upstream: STATE`: the line from the gateway to IoT Hub changes, or whom IoT Hub accepts; leaves stay connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.fields import Duration, Strict, Text, duration, one_or_many, shorthand
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage

State = Literal["up", "refused", "black-hole", "dns-gone", "throttled", "quota-exceeded"]


class Slow(Strict):
    """A line that takes its time."""

    latency: Duration = Field(default=1.0, description="how long each operation takes")


class Line(Strict):
    """How the line is from now on; one thing per step."""

    state: State | None = Field(default=None, description="the state, which may stand alone: `upstream: refused`")
    slow: Slow | None = Field(default=None, description="each operation takes `latency`")
    unauthorized: Annotated[list[Text], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] | None = (
        Field(default=None, description="leaves that IoT Hub does not accept; [] ends that")
    )
    noticed: bool = Field(
        default=False, description="Edge Hub knows at once, instead of by its next operation or probe"
    )

    @model_validator(mode="after")
    def _one(self) -> Line:
        if len(self.model_fields_set - {"noticed"}) != 1:
            raise PydanticCustomError(
                "one", "name one of `state`, `slow` and `unauthorized`; several are several steps"
            )
        return self

    def __str__(self) -> str:
        """The line as one would write it."""
        noticed = ", noticed" if self.noticed else ""
        if self.unauthorized is not None:
            return f"IoT Hub refuses {', '.join(self.unauthorized) or 'nobody'}{noticed}"
        return f"slow, {duration(self.slow.latency)}{noticed}" if self.slow else f"{self.state}{noticed}"


class Upstream(Play):
    """The line to IoT Hub changes."""

    upstream: Annotated[Line, shorthand(lambda word: {word: {}} if word == "slow" else {"state": word}, str | Line)] = (
        Field(description="the line's state: up, refused, black-hole, dns-gone, throttled, quota-exceeded or slow")
    )

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaves that IoT Hub does not accept."""
        return tuple(self.upstream.unauthorized or ())

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"upstream: {self.upstream}"

    async def play(self, stage: Stage) -> None:
        """Switch."""
        line, link = self.upstream, stage.gateway.upstream.link
        if line.unauthorized is not None:
            link.unauthorized = {stage.actor(leaf).identity[0] for leaf in line.unauthorized}
            link.switch(link.state, noticed=line.noticed)
        else:
            latency = line.slow.latency if line.slow else None
            link.switch("slow" if line.slow else line.state or "up", latency=latency, noticed=line.noticed)
        stage.timeline.add("upstream", str(line))
