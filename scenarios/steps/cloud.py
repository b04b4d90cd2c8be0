"""`cloud: {...}`: a back end changes desired properties, sends a message to a device or calls a method of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.errors import NotAsExpected
from scenarios.fields import Strict, Text
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class Order(Strict):
    """What a back end does; one thing per step."""

    to: Text = Field(description="the leaf")
    desired: dict[str, Any] | None = Field(default=None, description="desired properties to change; null deletes")
    message: Text | None = Field(default=None, description="the body of a cloud-to-device message")
    method: Text | None = Field(default=None, description="the name of a direct method to call")

    @model_validator(mode="after")
    def _one(self) -> Order:
        if len(self.model_fields_set - {"to"}) != 1:
            raise PydanticCustomError("one", "name one of `desired`, `message` and `method`; several are several steps")
        return self


class CloudExpect(Strict):
    """What a method call may expect; without it the leaf has to answer."""

    status: int = Field(default=200, description="the HTTP status that the caller gets: 200, 404 or 504")


class Cloud(Play):
    """A back end does something."""

    cloud: Order = Field(description="what it does")
    expect: CloudExpect = Field(default_factory=CloudExpect, description="how a method call ends")

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaf that is meant."""
        return (self.cloud.to,)

    @property
    def title(self) -> str:
        """The step in a few words."""
        word = next(iter(self.cloud.model_fields_set - {"to"}))
        return f"cloud: {word} to {self.cloud.to}"

    async def play(self, stage: Stage) -> None:
        """Do it; a method call waits for what comes of it."""
        order, upstream = self.cloud, stage.gateway.upstream
        device, module = stage.actor(order.to).identity
        if order.desired is not None:
            upstream.twins.update_desired(device if module is None else f"{device}/{module}", order.desired)
            stage.timeline.add("cloud", f"desired properties of {order.to}: {json.dumps(order.desired)}")
        elif order.message is not None:
            upstream.commands.send(device, order.message.encode())
            stage.timeline.add("cloud", f"message to {order.to}: {order.message}")
        elif order.method is not None:
            result = await stage.gateway.invoke_method(device, order.method, module_id=module, response_timeout=5)
            stage.timeline.add("cloud", f"calls {order.method} of {order.to}: {result.http_status}")
            if result.http_status != self.expect.status:
                raise NotAsExpected(f"status {self.expect.status}", str(result.http_status))
