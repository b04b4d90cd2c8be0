"""Connect a name elsewhere, as `curl --connect-to` does: only TCP goes there, SNI and verification keep the name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leafsim.errors import LeafError

Address = tuple[str, int]


class Routes:
    """Where TCP really goes for a name and port; names are compared ignoring case."""

    def __init__(self, routes: Mapping[Address, Address] | None = None) -> None:
        self._routes = {(name.lower(), port): to for (name, port), to in (routes or {}).items()}

    def resolve(self, name: str, port: int) -> Address:
        """Return where to connect: the route's end, or the name and port themselves."""
        return self._routes.get((name.lower(), port), (name, port))


def parse_connect_to(text: str) -> tuple[Address, Address]:
    """Read `NAME:PORT:ADDRESS:PORT`; an IPv6 address stands in brackets."""
    fields = _split(text)
    try:
        name, port, address, to_port = fields
        route = (name, _port(port)), (address, _port(to_port))
    except ValueError:
        raise LeafError(
            f"--connect-to {text!r} is not NAME:PORT:ADDRESS:PORT",
            "for example gw.factory.test:8883:127.0.0.1:18883, or gw.factory.test:8883:[::1]:8883",
        ) from None
    if not name or not address:
        raise LeafError(f"--connect-to {text!r} lacks a name", "write NAME:PORT:ADDRESS:PORT with nothing left out")
    return route


def parse_routes(texts: Iterable[str]) -> dict[Address, Address]:
    """Read several `NAME:PORT:ADDRESS:PORT`."""
    return dict(parse_connect_to(text) for text in texts)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 0 < port < 65536:
        raise ValueError(text)
    return port


def _split(text: str) -> list[str]:
    fields, inside = [""], False
    for character in text:
        if character in "[]":
            inside = character == "["
        elif character == ":" and not inside:
            fields.append("")
        else:
            fields[-1] += character
    return fields
