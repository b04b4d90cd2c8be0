"""Sends the connections of this process elsewhere: (host, port) -> (address, port), below every library.

The SDK connects to ports 8883 and 443 and nothing else. Both paho (socket.create_connection) and urllib3 ask
`socket.getaddrinfo` where to connect to, so an answer from there changes the peer and neither the name that is
verified nor the server name that is sent.
"""

import socket

_resolve = socket.getaddrinfo
_routes = {}


def install():
    """Ask the table first, from now on."""
    socket.getaddrinfo = _look_up


def add(host, port, address, new_port):
    """Whoever wants `host:port` gets to `address:new_port`."""
    _routes[(host.lower(), port)] = (address, new_port)


def clear():
    """Forget every route."""
    _routes.clear()


def _look_up(host, port, *further, **named):
    host, port = _routes.get((str(host).lower(), port), (host, port))
    return _resolve(host, port, *further, **named)
