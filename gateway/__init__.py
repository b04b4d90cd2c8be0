"""The emulated Edge Hub.

Start one with `Gateway`, read what arrived in its `upstream.inbox`, play the back end with `upstream.twins`,
`upstream.commands` and `invoke_method`, watch its `events`.
"""

import logging

from gateway.clock import Clock as Clock
from gateway.clock import ManualClock as ManualClock
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
from gateway.upstream import Delivered as Delivered
from gateway.upstream import Device as Device
from gateway.upstream import Inbox as Inbox

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
    "PortError",
    "RegistryError",
    "Settings",
    "StoreError",
    "SystemClock",
    "TwinRefusedError",
]

# A library stays silent until somebody asks for its log (gateway.logs.log_to).
logging.getLogger("leafgate").addHandler(logging.NullHandler())
