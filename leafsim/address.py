"""Names and addresses: what is an IP address, and how an address with a port is written."""

from __future__ import annotations

import ipaddress


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address, which TLS verifies in another way and never sends as SNI."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def with_port(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
