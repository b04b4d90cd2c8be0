"""Ports of this machine: one socket each, and what to say when one cannot be had."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from gateway.errors import PortError

_ADVICE = {
    errno.EADDRINUSE: "another program has this port: stop it, or take another port (0 means any free one)",
    errno.EACCES: "ports below 1024 need a privilege: take another port, or allow it (sysctl "
    "net.ipv4.ip_unprivileged_port_start, or setcap cap_net_bind_service)",
    errno.EADDRNOTAVAIL: "this machine has no such address: 127.0.0.1 is the default of --bind",
}


def claim(address: str, port: int, option: str) -> socket.socket:
    """A socket bound to a port, 0 for any free one. PortError says why not; `option` is where the user chooses it."""
    try:
        return bind(address, port)
    except (OSError, OverflowError) as wrong:
        number = getattr(wrong, "errno", None) or 0
        # resolvers have negative numbers, which strerror does not know
        reason = os.strerror(number) if number > 0 else getattr(wrong, "strerror", None) or str(wrong)
        hint = _ADVICE.get(number, f"check --bind and {option}")
        raise PortError(address, port, reason.lower(), hint) from None


def bind(address: str, port: int) -> socket.socket:
    """One socket for a listener.

    asyncio would open one per address family, which may get different ports, and its words for what went wrong differ
    from one Python to the next. The protocol has to be named: asyncio switches Nagle's algorithm off for TCP alone, and
    an answer that waits for the peer's delayed acknowledgement doubles the time of a handshake.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except (OSError, OverflowError):
        bound.close()
        raise
    return bound


def is_everywhere(address: str) -> bool:
    """Whether an address to listen on, or a name for one, stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:  # a name
        return False


def in_url(address: str) -> str:
    """How a URL names, on this machine, what listens on an address or name; for all addresses that is loopback."""
    if is_everywhere(address):
        address = "::1" if ":" in address else "127.0.0.1"
    return f"[{address}]" if ":" in address else address
