"""`connect: LEAF`: the leaf connects by its connection string, and is connected or refused as expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from scenarios.attempt import saw, saw_instead
from scenarios.errors import NotAsExpected
from scenarios.expectations import ConnectExpect, ConnectOutcome
from scenarios.fields import Text
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.attempt import Attempt
    from scenarios.stage import Stage


class Connect(Play):
    """A leaf connects."""

    connect: Text = Field(description="the leaf that connects")
    expect: ConnectOutcome = Field(default_factory=lambda: ConnectExpect(connected=True), description="how it ends")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaf that connects."""
        return (self.connect,)

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"connect {self.connect}"

    async def play(self, stage: Stage) -> None:
        """Connect, and hold what came of it against what is expected."""
        since = len(stage.record.events)
        attempt = await stage.connect(self.connect, self.expect.within)
        await self._judge(stage, attempt, since)
        for stack, verdict in self.expect.stacks.items():
            await stage.judge_stack(self.connect, stack, verdict, self.expect.within)

    async def _judge(self, stage: Stage, attempt: Attempt, since: int) -> None:
        expected = self.expect
        patience = expected.within if expected.gateway_saw else stage.patience
        event = None if attempt.connected else await stage.record.refusal(since, patience)
        if not attempt.meets(expected):
            raise NotAsExpected(expected.describe(), attempt.got())
        if expected.gateway_saw and not saw(expected.gateway_saw, event):
            raise NotAsExpected(f"the gateway to see {expected.gateway_saw.describe()}", saw_instead(event))
        if expected.log:
            await stage.expect_line(expected.log, expected.within)
