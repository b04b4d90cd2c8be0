"""`expect: ...` as a step of its own: what has arrived, who is connected, what the gateway has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.expectations import Arrived, Got
from scenarios.fields import Duration, Strict, Text
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class Expectation(Strict):
    """What has to be true now or soon."""

    arrived: Arrived | None = Field(default=None, description="what reached the upstream since the scenario began")
    connected: Text | None = Field(default=None, description="the leaf that is connected")
    disconnected: Text | None = Field(default=None, description="the leaf that is not connected, or no longer")
    got: Got | None = Field(default=None, description="what came for a leaf that listens")
    log: str | None = Field(default=None, description="part of a line of the gateway's log")
    within: Duration = Field(default=10.0, description="how long to wait at most")

    @model_validator(mode="after")
    def _something(self) -> Expectation:
        if not (self.arrived or self.connected or self.disconnected or self.got or self.log):
            words = "`arrived`, `connected`, `disconnected`, `got` or `log`"
            raise PydanticCustomError("nothing", f"nothing is expected here; write {words}")
        return self


class Expect(Play):
    """Something is true by now."""

    expect: Expectation = Field(description="what is expected")
    within: Duration | None = Field(default=None, description="how long to wait at most; may also stand inside")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaves that it speaks of."""
        arrived, got = self.expect.arrived, self.expect.got
        named = arrived.from_ if arrived else None, got.leaf if got else None
        return tuple(filter(None, (self.expect.connected, self.expect.disconnected, *named)))

    @property
    def title(self) -> str:
        """The step in a few words."""
        words = [
            name
            for name in ("arrived", "connected", "disconnected", "got", "log")
            if getattr(self.expect, name) is not None
        ]
        return f"expect {' and '.join(words)}"

    async def play(self, stage: Stage) -> None:
        """Wait for each of them."""
        within = self.within or self.expect.within
        if self.expect.connected:
            await stage.expect_connected(self.expect.connected, within)
        if self.expect.disconnected:
            await stage.expect_connected(self.expect.disconnected, within, connected=False)
        if self.expect.arrived:
            await stage.expect_arrived(self.expect.arrived, within)
        if self.expect.got:
            await stage.expect_got(self.expect.got.leaf, self.expect.got, within)
        if self.expect.log:
            await stage.expect_line(self.expect.log, within)
