"""`publish: {from: LEAF, count: N}`: the leaf sends telemetry with QoS 1 and waits for the acknowledgements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scenarios.errors import NotAsExpected
from scenarios.expectations import Arrived
from scenarios.fields import Duration, Strict, Text, shorthand
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class Publication(Strict):
    """What is sent."""

    from_: Text = Field(alias="from", description="the leaf that sends")
    count: int = Field(default=1, ge=1, le=100_000, description="how many messages")
    body: Any = Field(default=None, description="their body: JSON, or text; default: {n: 1}, {n: 2}, ...")
    properties: dict[str, Text] = Field(default_factory=dict, description="application properties")


class PublishExpect(Strict):
    """What `publish` may expect; without it each message has to be acknowledged."""

    acknowledged: int | None = Field(default=None, ge=0, description="how many are acknowledged (PUBACK)")
    arrived: Arrived | None = Field(default=None, description="what reaches the upstream")
    within: Duration = Field(default=10.0, description="how long to wait at most")


class Publish(Play):
    """A leaf sends telemetry."""

    publish: Annotated[Publication, shorthand(lambda leaf: {"from": leaf}, str | Publication)] = Field(
        description="what is sent, or just the leaf that sends"
    )
    expect: PublishExpect = Field(default_factory=PublishExpect, description="what comes of it")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaf that sends, and the one that messages are expected from."""
        arrived = self.expect.arrived
        return (self.publish.from_, *([arrived.from_] if arrived and arrived.from_ else []))

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"publish from {self.publish.from_}"

    async def play(self, stage: Stage) -> None:
        """Send, count the acknowledgements, and look at what arrived."""
        sent = self.publish
        bodies = [{"n": number + 1} if sent.body is None else sent.body for number in range(sent.count)]
        acknowledged = await stage.publish(sent.from_, bodies, sent.properties, self.expect.within)
        wanted = sent.count if self.expect.acknowledged is None else self.expect.acknowledged
        if acknowledged.count != wanted:
            got = f"{acknowledged.count}" + (f" ({acknowledged.trouble})" if acknowledged.trouble else "")
            raise NotAsExpected(f"{wanted} of {sent.count} messages acknowledged", got)
        if self.expect.arrived:
            await stage.expect_arrived(self.expect.arrived, self.expect.within)
