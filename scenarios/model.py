"""The file format: joins the models that the scene and each kind of step own.

Rule: a word means one thing wherever it stands; whatever can be derived is not asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from scenarios.fields import Strict, Text
from scenarios.setting import GatewaySetting, LeafSetting
from scenarios.steps.certificates import Certificates
from scenarios.steps.clock import Clock
from scenarios.steps.cloud import Cloud
from scenarios.steps.connect import Connect
from scenarios.steps.disconnect import Disconnect
from scenarios.steps.expect import Expect
from scenarios.steps.fault import FaultStep
from scenarios.steps.gateway import GatewayStep
from scenarios.steps.listen import Listen
from scenarios.steps.publish import Publish
from scenarios.steps.upstream import Upstream

# `expect` comes last: it is a step of its own only where no other kind stands beside it.
STEPS = {
    "connect": Connect,
    "publish": Publish,
    "disconnect": Disconnect,
    "clock": Clock,
    "fault": FaultStep,
    "gateway": GatewayStep,
    "certificates": Certificates,
    "upstream": Upstream,
    "listen": Listen,
    "cloud": Cloud,
    "expect": Expect,
}
TAG = "step:"


def _kind(step: Any) -> str | None:
    keys = step if isinstance(step, dict) else [name for name in STEPS if hasattr(step, name)]
    return next((TAG + name for name in STEPS if name in keys), None)


Step = Annotated[
    Annotated[Connect, Tag(TAG + "connect")]
    | Annotated[Publish, Tag(TAG + "publish")]
    | Annotated[Disconnect, Tag(TAG + "disconnect")]
    | Annotated[Clock, Tag(TAG + "clock")]
    | Annotated[FaultStep, Tag(TAG + "fault")]
    | Annotated[GatewayStep, Tag(TAG + "gateway")]
    | Annotated[Certificates, Tag(TAG + "certificates")]
    | Annotated[Upstream, Tag(TAG + "upstream")]
    | Annotated[Listen, Tag(TAG + "listen")]
    | Annotated[Cloud, Tag(TAG + "cloud")]
    | Annotated[Expect, Tag(TAG + "expect")],
    Discriminator(_kind),
]


class Scenario(Strict):
    """One claim: a scene, what happens in it, and what comes of it."""

    story: Text | None = Field(default=None, description="the story that the claim belongs to")
    name: Text | None = Field(default=None, description="name in reports; default: the file's")
    gateway: GatewaySetting = Field(default_factory=GatewaySetting, description="the gateway and its chain")
    leaves: dict[str, LeafSetting] = Field(default_factory=dict, description="the leaves by name")
    steps: list[Step] = Field(min_length=1, description="what happens, in order")
    cause: str | None = Field(default=None, description="why it comes out so")
    fix: str | None = Field(default=None, description="what to do about it")
    era: str | None = Field(default=None, description="with which products and stacks it came out differently")
    counterpart: Text | None = Field(default=None, description="the scenario that comes out the other way")

    def leaf(self, name: str) -> LeafSetting:
        """The leaf called `name`; a scenario that declares none has leaves with all defaults."""
        return self.leaves.get(name, LeafSetting())

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """Every leaf, declared or only named in a step."""
        return tuple(dict.fromkeys([*self.leaves, *(leaf for step in self.steps for leaf in step.leaves)]))


class Loaded(Strict):
    """A scenario with where it came from and the claim of its first line."""

    scenario: Scenario
    claim: str
    path: Path
    name: str
