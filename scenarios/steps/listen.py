"""`listen: LEAF`: the leaf subscribes to everything there is for it and reads its twin, as the SDKs do.

It answers each method with status 200, and remembers what comes for `expect: {got: ...}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from scenarios.errors import NotAsExpected
from scenarios.fields import Duration, Strict, Text
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class ListenExpect(Strict):
    """What the twin says."""

    desired: dict[str, Any] | None = Field(default=None, description="its desired properties, without `$version`")
    within: Duration = Field(default=10.0, description="how long to wait at most")


class Listen(Play):
    """A leaf subscribes and reads its twin."""

    listen: Text = Field(description="the leaf that listens")
    expect: ListenExpect = Field(default_factory=ListenExpect, description="what its twin says")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaf that listens."""
        return (self.listen,)

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"listen {self.listen}"

    async def play(self, stage: Stage) -> None:
        """Subscribe, ask for the twin, and hold the answer against what is expected."""
        twin = await stage.listen(self.listen, self.expect.within)
        desired = {name: value for name, value in twin.get("desired", {}).items() if name != "$version"}
        stage.timeline.add(self.listen, f"reads its twin: desired {desired}")
        if self.expect.desired is not None and desired != self.expect.desired:
            raise NotAsExpected(f"desired properties {self.expect.desired}", str(desired))
