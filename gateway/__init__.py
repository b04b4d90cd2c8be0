"""The emulated Edge Hub.

Start one with `Gateway`, read what arrived in its `upstream.inbox`, play the back end with `upstream.twins`,
`upstream.commands` and `invoke_method`, watch its `events`. Names are imported on first use: the command line answers
`--help` before the gateway is loaded.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.clock import Clock as Clock
    from gateway.clock import ManualClock as ManualClock
    from gateway.clock import MovableClock as MovableClock
    from gateway.clock import SystemClock as SystemClock
    from gateway.config import Settings as Settings
    from gateway.errors import CommandRefusedError as CommandRefusedError
    from gateway.errors import GatewayError as GatewayError
    from gateway.errors import PortError as PortError
    from gateway.errors import RegistryError as RegistryError
    from gateway.errors import StoreError as StoreError
    from gateway.errors import TwinRefusedError as TwinRefusedError
    from gateway.hub.methods import MethodResult as MethodResult
    from gateway.service import Gateway as Gateway
    from gateway.upstream.arrivals import Delivered as Delivered
    from gateway.upstream.device import Device as Device
    from gateway.upstream.inbox import Inbox as Inbox

#: module -> what is taken from it
_HOMES = {
    "clock": ("Clock", "ManualClock", "MovableClock", "SystemClock"),
    "config": ("Settings",),
    "errors": (
        "CommandRefusedError",
        "GatewayError",
        "PortError",
        "RegistryError",
        "StoreError",
        "TwinRefusedError",
    ),
    "hub.methods": ("MethodResult",),
    "service": ("Gateway",),
    "upstream.arrivals": ("Delivered",),
    "upstream.device": ("Device",),
    "upstream.inbox": ("Inbox",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Clock",
    "CommandRefusedError",
    "Delivered",
    "Device",
    "Gateway",
    "GatewayError",
    "Inbox",
    "ManualClock",
    "MethodResult",
    "MovableClock",
    "PortError",
    "RegistryError",
    "Settings",
    "StoreError",
    "SystemClock",
    "TwinRefusedError",
]

# A library stays silent until somebody asks for its log (gateway.logs.log_to).
logging.getLogger("leafgate").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gateway' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gateway.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
