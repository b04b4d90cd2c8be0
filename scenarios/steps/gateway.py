"""`gateway: restart`: Edge Hub exits and starts again, with a new server certificate; sessions stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class GatewayStep(Play):
    """Edge Hub restarts."""

    gateway: Literal["restart"] = Field(description="`restart`: Edge Hub exits and starts again, or starts if down")

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"gateway {self.gateway}"

    async def play(self, stage: Stage) -> None:
        """Restart."""
        await stage.gateway.restart()
