"""Scenarios: claims about leaf devices behind a gateway, as files that are played for real.

    result = await play(scenarios.load.load(Path("mine.scenario.yaml")), seed=1)

Joins gateway and leaves for the commands, the library and the pytest fixtures. Names are imported on first use: the
command line answers `--help`, and pytest starts, before a gateway is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.model import Scenario as Scenario
    from scenarios.results import Result as Result
    from scenarios.rig import GatewayHandle as GatewayHandle
    from scenarios.rig import LeafHandle as LeafHandle
    from scenarios.runner import play as play

_HOMES = {
    "GatewayHandle": "rig",
    "LeafHandle": "rig",
    "Result": "results",
    "Scenario": "model",
    "play": "runner",
}
__all__ = ["GatewayHandle", "LeafHandle", "Result", "Scenario", "play"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
    return getattr(importlib.import_module(f"scenarios.{_HOMES[name]}"), name)
