"""The emulated Edge Hub.

Start one with `Gateway`, read what arrived in its `upstream.inbox`, watch its `events`.
"""

import logging

from gateway.clock import Clock as Clock
from gateway.clock import ManualClock as ManualClock
from gateway.clock import SystemClock as SystemClock
from gateway.config import Settings as Settings
from gateway.errors import GatewayError as GatewayError
from gateway.errors import PortError as PortError
from gateway.errors import RegistryError as RegistryError
from gateway.errors import StoreError as StoreError
from gateway.service import Gateway as Gateway
from gateway.upstream import Delivered as Delivered
from gateway.upstream import Device as Device
from gateway.upstream import Inbox as Inbox

__all__ = [
    "Clock",
    "Delivered",
    "Device",
    "Gateway",
    "GatewayError",
    "Inbox",
    "ManualClock",
    "PortError",
    "RegistryError",
    "Settings",
    "StoreError",
    "SystemClock",
]

# A library stays silent until somebody asks for its log (gateway.logs.log_to).
logging.getLogger("leafgate").addHandler(logging.NullHandler())
