"""`disconnect: LEAF`: the leaf says goodbye with DISCONNECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from scenarios.fields import Text
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class Disconnect(Play):
    """A leaf disconnects."""

    disconnect: Text = Field(description="the leaf that disconnects")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaf that disconnects."""
        return (self.disconnect,)

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"disconnect {self.disconnect}"

    async def play(self, stage: Stage) -> None:
        """Disconnect."""
        await stage.disconnect(self.disconnect)
