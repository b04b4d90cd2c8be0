"""Leaf devices: they connect through a gateway as real ones do, or are refused for the real reason.

    with Device(connection_string, trust=Path("root.pem")) as device:
        device.send({"temperature": 21})

Knows no gateway, so everything here works against a real IoT Edge device too.
"""

from leafsim.connection import ConnectionString
from leafsim.credentials import ClientCertificate, SasToken, sas_token
from leafsim.device import Device
from leafsim.errors import (
    ConnackRefused,
    ConnectionStringError,
    Disconnected,
    LeafError,
    NotAcknowledged,
    TlsRefused,
    TrustError,
    Unreachable,
)
from leafsim.leaf import Leaf
from leafsim.routes import parse_connect_to
from leafsim.session import Received

__all__ = [
    "ClientCertificate",
    "ConnackRefused",
    "ConnectionString",
    "ConnectionStringError",
    "Device",
    "Disconnected",
    "Leaf",
    "LeafError",
    "NotAcknowledged",
    "Received",
    "SasToken",
    "TlsRefused",
    "TrustError",
    "Unreachable",
    "parse_connect_to",
    "sas_token",
]
