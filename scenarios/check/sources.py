"""From what the user gives to what is checked: a configuration, HOST:PORT, a ready file, a state folder.

Rule: an address is connected to when the user named it, or when it is one of this machine's loopback addresses.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certs import layout
from certs.capture import parse_address
from certs.files import read, read_certificates
from gateway import Settings
from gateway.store.folder import StateFolder
from gateway.upstream.reading import kept_registry
from scenarios import ready
from scenarios.check.configured import configured_in
from scenarios.check.subject import AMQP, HTTPS, MQTT, PORTS, TRUST_BUNDLE, Address, Configured, LeafDevice, Subject
from scenarios.errors import ScenariosError

_NO_REGISTRY = "no registry is at hand: give the ready file or the state folder of a gateway that has --state"


@dataclass(frozen=True)
class Inputs:
    """The options of `leafgate check` that say what is checked."""

    address: str | None = None
    config: Path | None = None
    ready_file: Path | None = None
    state: Path | None = None
    trust: Path | None = None
    name: str | None = None
    root: Path | None = None
    hub: str | None = None
    https_port: int | None = None
    amqp_port: int | None = None
    timeout: float = 10.0


def find(inputs: Inputs) -> Subject:
    """Put together what the inputs tell. Raises ScenariosError, CertsError or GatewayError for a wrong file."""
    if not any((inputs.address, inputs.config, inputs.ready_file, inputs.state)):
        raise ScenariosError(
            "there is nothing to check", "give --iotedge-config FILE, HOST:PORT, --ready-file FILE or --state DIR"
        )
    if inputs.trust is not None:
        read_certificates(inputs.trust)  # the user's own mistake, so none of the gateway's
    configured = None if inputs.config is None else configured_in(inputs.config, inputs.root)
    facts = None if inputs.ready_file is None else _ready(inputs.ready_file)
    state = inputs.state or (None if facts is None else Path(facts["state"]))
    return Subject(
        configured=configured or "no --iotedge-config is given",
        heads=_heads(inputs, configured, facts),
        name=_name(inputs, configured, facts),
        trust=inputs.trust or _trust(configured, facts, inputs.state),
        hub=_hub(inputs.hub, configured),
        leaves=registered(state),
        timeout=inputs.timeout,
    )


def here(name: str) -> str | None:
    """The loopback address that a name resolves to, if it does."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    addresses = (str(sockaddr[0]) for *_, sockaddr in found)
    return next((one for one in addresses if ipaddress.ip_address(one.partition("%")[0]).is_loopback), None)


def _name(inputs: Inputs, configured: Configured | None, facts: Mapping[str, Any] | None) -> str | None:
    if inputs.name:
        return inputs.name
    if configured is not None and configured.hostname:
        return configured.hostname
    if facts is not None:
        return str(facts["hostname"])
    if inputs.state is not None:
        return layout.load(inputs.state).hostname
    return parse_address(inputs.address)[0] if inputs.address else None


def _trust(configured: Configured | None, facts: Mapping[str, Any] | None, state: Path | None) -> Path | None:
    bundle = next((one.certificate for one in configured.files if one.id == TRUST_BUNDLE), None) if configured else None
    if isinstance(bundle, Path):
        return bundle
    if facts is not None:
        return Path(facts["root_ca"])
    return None if state is None else layout.trust_file(state)


def _heads(inputs: Inputs, configured: Configured | None, facts: Mapping[str, Any] | None) -> dict[str, Address | str]:
    """Where each protocol is, from the surest source: named by the user, then the ready file, then the host name."""
    given = {HTTPS: inputs.https_port, AMQP: inputs.amqp_port}
    if inputs.address:
        host, port = parse_address(inputs.address)
        usual = port == PORTS[MQTT]
        unknown = f"port {port} is not the usual one, so where this one is is not known: give --{{}}-port"
        rest = {one: (host, given[one] or PORTS[one]) if given[one] or usual else unknown.format(one) for one in given}
        return {MQTT: (host, port), **rest}
    if facts is not None:
        return _heads_of_ready(facts, given)
    host = _name(inputs, configured, facts) or ""
    address = here(host) if host else None
    if address is None:
        reason = f"{host or 'the host name'} is no name of this machine's loopback addresses: give HOST:PORT"
        return dict.fromkeys(PORTS, reason)
    return {one: (address, given.get(one) or PORTS[one]) for one in PORTS}


def _heads_of_ready(facts: Mapping[str, Any], given: Mapping[str, int | None]) -> dict[str, Address | str]:
    bind = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(facts["bind"], facts["bind"])  # noqa: S104 - compared, not bound
    https, amqp = given[HTTPS] or facts["https_port"], given[AMQP]
    return {
        MQTT: (bind, int(facts["mqtt_port"])),
        HTTPS: (bind, int(https)) if https else "this gateway has no HTTPS port",
        AMQP: (bind, amqp) if amqp else "leafgate's Edge Hub does not speak AMQP",
    }


def _hub(given: str | None, configured: Configured | None) -> dict[str, Address | str]:
    """Where the gateway connects upstream; empty when it is not known."""
    if given:
        return {one: (given, PORTS[one]) for one in PORTS}
    upstream = (configured.parent_hostname or configured.hub_hostname) if configured else None
    if not upstream:
        return {}
    if here(upstream) is None:
        reason = f"{upstream} is not on this machine; leafgate connects to it only with --iothub-hostname {upstream}"
        return dict.fromkeys(PORTS, reason)
    return {one: (upstream, PORTS[one]) for one in PORTS}


def registered(state: Path | None) -> tuple[LeafDevice, ...] | str:
    """The leaves of the registry in a state folder, which is only read; a text says why there is none."""
    folder = None if state is None else StateFolder(state, None, Settings(), logging.getLogger(__name__))
    if folder is None or folder.hub is None or folder.registry is None:
        return _NO_REGISTRY
    registry = kept_registry(folder.hub, folder.registry)
    if registry is None:
        return _NO_REGISTRY
    own = next((device.device_id for device in registry if device.module_id == "$edgeHub"), "")
    registry.edge_device_id = own
    devices = [device for device in registry if device.module_id is None and device.device_id != own]
    return tuple(
        LeafDevice(device.device_id, device.enabled, registry.in_scope(device.device_id) is not None)
        for device in devices
    )


def _ready(path: Path) -> dict[str, Any]:
    """Read a ready file; its secrets go no further."""
    try:
        facts = json.loads(read(path))
        wrong = not isinstance(facts, dict) or facts.get("version") != ready.VERSION
        wrong = wrong or any(facts.get(key) is None for key in ("hostname", "bind", "mqtt_port", "root_ca", "state"))
    except ValueError:
        wrong = True
    if wrong:
        raise ScenariosError(f"{path} is no ready file", "give the file of `leafgate up --ready-file`")
    return dict(facts)
