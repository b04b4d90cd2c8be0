"""Leaf devices: they connect through a gateway as real ones do, or are refused for the real reason.

    with Device(connection_string, trust=Path("root.pem")) as device:
        device.send({"temperature": 21})

Knows no gateway, so everything here works against a real IoT Edge device too. Names are imported on first use: the
command line answers `--help` before paho is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leafsim.connection import ConnectionString as ConnectionString
    from leafsim.credentials import ClientCertificate as ClientCertificate
    from leafsim.credentials import SasToken as SasToken
    from leafsim.credentials import sas_token as sas_token
    from leafsim.device import Device as Device
    from leafsim.errors import ConnackRefused as ConnackRefused
    from leafsim.errors import ConnectionStringError as ConnectionStringError
    from leafsim.errors import Disconnected as Disconnected
    from leafsim.errors import LeafError as LeafError
    from leafsim.errors import NotAcknowledged as NotAcknowledged
    from leafsim.errors import TlsRefused as TlsRefused
    from leafsim.errors import TrustError as TrustError
    from leafsim.errors import Unreachable as Unreachable
    from leafsim.leaf import Leaf as Leaf
    from leafsim.process import connect_in_process as connect_in_process
    from leafsim.routes import parse_connect_to as parse_connect_to
    from leafsim.session import Received as Received
    from leafsim.stacks import STACKS as STACKS
    from leafsim.stacks import Outcome as Outcome
    from leafsim.stacks import Stack as Stack
    from leafsim.stacks import StackMissing as StackMissing
    from leafsim.stacks import Target as Target

#: module -> what is taken from it; no module bears the name of a function, or it would hide it
_HOMES = {
    "connection": ("ConnectionString",),
    "credentials": (
        "ClientCertificate",
        "SasToken",
        "sas_token",
    ),
    "device": ("Device",),
    "errors": (
        "ConnackRefused",
        "ConnectionStringError",
        "Disconnected",
        "LeafError",
        "NotAcknowledged",
        "TlsRefused",
        "TrustError",
        "Unreachable",
    ),
    "leaf": ("Leaf",),
    "process": ("connect_in_process",),
    "routes": ("parse_connect_to",),
    "session": ("Received",),
    "stacks": (
        "STACKS",
        "Outcome",
        "Stack",
        "StackMissing",
        "Target",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "STACKS",
    "ClientCertificate",
    "ConnackRefused",
    "ConnectionString",
    "ConnectionStringError",
    "Device",
    "Disconnected",
    "Leaf",
    "LeafError",
    "NotAcknowledged",
    "Outcome",
    "Received",
    "SasToken",
    "Stack",
    "StackMissing",
    "Target",
    "TlsRefused",
    "TrustError",
    "Unreachable",
    "connect_in_process",
    "parse_connect_to",
    "sas_token",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'leafsim' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"leafsim.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
