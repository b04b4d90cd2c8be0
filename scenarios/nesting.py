"""Gateways below gateways on the command line: who is registered below whom, and how a gateway finds its parent.

Rule: everybody is registered at the top, so what is below a gateway is handed down in ready files: each has the
connection strings of its children, their leaves and their children.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway import Gateway
from scenarios.cast import sas_key
from scenarios.chainsource import configured_parent
from scenarios.errors import CannotPlayError, ScenariosError
from scenarios.upoptions import Options

EDGE_HUB = "$edgeHub"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_START_PARENT = "start the parent with --child EDGE/LEAF --ready-file FILE, and give that file"


@dataclass(frozen=True)
class Above:
    """The parent of a gateway, and what hangs below the gateway itself."""

    hostname: str
    connection: str = field(repr=False)
    trust: Path | None = None
    address: tuple[str, int, int] | None = None
    leaves: Mapping[str, str] = field(default_factory=dict, repr=False)
    children: Mapping[str, Any] = field(default_factory=dict, repr=False)


def check(options: Options) -> None:
    """Refuse options that contradict each other. Raises ScenariosError."""
    if options.parent is None:
        given = {
            "--parent-hostname": options.parent_hostname,
            "--parent-trust": options.parent_trust,
            "--parent-address": options.parent_address,
            "--edge-device-id": options.edge_device_id,
        }
        for name, value in given.items():
            if value is not None:
                raise ScenariosError(
                    f"{name} is for a gateway that has a parent", f"give --parent too: {_START_PARENT}"
                )
        for path in options.children:
            _names(path)
        return
    for name, given_here in (
        ("--leaf", options.leaves),
        ("--child", options.children),
        ("--scenario", options.scenario),
    ):
        if given_here:
            hint = "register it there: leafgate up --child EDGE/LEAF"
            raise ScenariosError(f"{name} is for the gateway at the top: this one is below another", hint)
    if options.parent_address is not None:
        _address(options.parent_address)


def above(options: Options) -> Above | None:
    """The parent that the options name. Raises ScenariosError or CannotPlayError."""
    if options.parent is None:
        return None
    named = options.parent_hostname or configured_parent(options)
    return _from_string(options, named) if "SharedAccessKey=" in options.parent else _from_file(options, named)


def register(gateway: Gateway, paths: Sequence[str], seed: int | None) -> dict[str, Any]:
    """Register edge devices and leaves; the answer is what a ready file says of them. Raises RegistryError."""
    top: dict[str, Any] = {}
    for path in paths:
        level, parent = top, ""
        edges, leaf = _names(path)
        for edge in edges:
            _add(gateway, edge, parent, seed, edge=True)
            entry = {"connection_string": _connection(gateway, edge), "leaves": {}, "children": {}}
            level, parent, last = level.setdefault(edge, entry)["children"], edge, level[edge]
        if leaf:
            _add(gateway, leaf, parent, seed)
            last["leaves"][leaf] = _connection(gateway, leaf)
    if top:
        gateway.refresh_scope()
    return top


def _names(path: str) -> tuple[list[str], str]:
    """The edge devices of `edge2/edge3/leaf`, and the leaf; empty for `edge2/`."""
    *edges, leaf = path.split("/")
    if not edges or not all(edges):
        hint = "EDGE/LEAF, EDGE/ for an edge device alone, EDGE/EDGE/LEAF for more levels"
        raise ScenariosError(f"--child {path!r} names no edge device", hint)
    return edges, leaf


def _add(gateway: Gateway, name: str, parent: str, seed: int | None, *, edge: bool = False) -> None:
    if gateway.registry.get(name) is None:
        key = "" if seed is None else sas_key(seed, name, None)
        gateway.add_device(name, primary_key=key, edge=edge, parent=parent)
        hub = gateway.registry.get(name, EDGE_HUB)
        if hub is not None and seed is not None:
            gateway.registry.update(replace(hub, primary_key=sas_key(seed, name, EDGE_HUB)))


def _connection(gateway: Gateway, name: str) -> str:
    """A connection string without GatewayHostName: which gateway it is for is not known here."""
    return gateway.connection_string(name).partition(";GatewayHostName=")[0]


def _from_string(options: Options, named: str | None) -> Above:
    assert options.parent is not None
    if named is None:
        raise ScenariosError("--parent has a connection string, but no name to connect to", "give --parent-hostname")
    address = None if options.parent_address is None else _address(options.parent_address)
    return Above(named, options.parent, options.parent_trust, address)


def _from_file(options: Options, named: str | None) -> Above:
    path = Path(options.parent or "")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        children, hostname = facts["children"], facts["hostname"]
        where = (_ANYWHERE.get(facts["bind"], facts["bind"]), facts["mqtt_port"], facts["https_port"])
        trust = options.parent_trust or Path(facts["root_ca"])
    except OSError as wrong:
        raise CannotPlayError(f"cannot read {path}: {(wrong.strerror or '').lower()}", _START_PARENT) from None
    except (ValueError, KeyError, TypeError):
        raise CannotPlayError(f"{path} is no ready file of a gateway with children", _START_PARENT) from None
    edge = options.edge_device_id or next(iter(children), None)
    if edge is None or edge not in children:
        known = f"it has {', '.join(sorted(children))}" if children else _START_PARENT
        raise ScenariosError(f"{path} has no child {edge or 'gateway'}", known)
    if options.edge_device_id is None and len(children) > 1:
        raise ScenariosError(f"{path} has several children", f"choose with --edge-device-id: {', '.join(children)}")
    if where[2] is None and options.parent_address is None:
        raise CannotPlayError(f"the parent {hostname} has no HTTPS port", "start it with --https-port 0")
    address = where if options.parent_address is None else _address(options.parent_address)
    own = children[edge]
    return Above(named or hostname, own["connection_string"], trust, address, own["leaves"], own["children"])


def _address(text: str) -> tuple[str, int, int]:
    host, _, ports = text.rpartition(":")
    host, _, mqtt = host.rpartition(":")
    if not host or not mqtt.isdecimal() or not ports.isdecimal():
        hint = "ADDRESS:MQTT-PORT:HTTPS-PORT, as in 127.0.0.1:8883:443"
        raise ScenariosError(f"--parent-address {text!r} cannot be read", hint)
    return host.strip("[]"), int(mqtt), int(ports)
