"""The leaves of a scenario: each with its registration at the hub, its connection string, and what it trusts."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import Device as Registration
from gateway import Gateway
from leafsim import ConnectionString, Device, LeafError, connect_in_process
from scenarios.chainplan import derive_bytes, trusted
from scenarios.probing import attempt_of, try_stack
from scenarios.setting import TRUST_WORDS

if TYPE_CHECKING:
    from scenarios.attempt import Attempt
    from scenarios.model import Scenario
    from scenarios.setting import LeafSetting

HOUR = 3600.0


@dataclass
class Actor:
    """One leaf on the stage."""

    name: str
    setting: LeafSetting
    connection: ConnectionString
    port: int
    pem: Path | None
    device: Device | None = field(default=None, init=False)

    @property
    def identity(self) -> tuple[str, str | None]:
        """Device and module id."""
        return self.connection.device_id, self.connection.module_id

    @property
    def client_id(self) -> str:
        """What it calls itself in CONNECT."""
        return self.setting.client_id or self.connection.client_id

    @property
    def connect_to(self) -> dict[tuple[str, int], tuple[str, int]]:
        """The way to the gateway, whatever the name resolves to here."""
        return {(self.connection.target, self.port): ("127.0.0.1", self.port)}

    @property
    def remark(self) -> str:
        """What is special about this leaf, for the timeline."""
        words = [
            "" if self.setting.stack == "paho" else f"stack {self.setting.stack}",
            "modelled" if self.setting.stack == "exact-match" else "",
            "own process, root in its system store" if self.setting.trust == "system" else "",
        ]
        return ", ".join(filter(None, words))

    def connect(self, timeout: float) -> Attempt:
        """Connect; blocks until it is known how that ended."""
        if self.setting.stack != "paho":
            return try_stack(self, timeout)
        self.leave()
        try:
            if self.setting.trust == "system":
                self._connect_in_process(timeout)
            else:
                self._connect(timeout)
        except LeafError as error:
            return attempt_of(error)
        return attempt_of(None)

    def _connect(self, timeout: float) -> None:
        port, here = self.port, self.connect_to
        self.device = Device(self.connection, trust=self.pem, port=port, connect_to=here, **self._oddities())
        self.device.connect(timeout=timeout)

    def _connect_in_process(self, timeout: float) -> None:
        """Only a process has a system store of its own; it connects, says how that went, and ends."""
        here = self.connect_to
        connect_in_process(
            self.connection, store=self.pem, port=self.port, connect_to=here, timeout=timeout, **self._oddities()
        )

    def _oddities(self) -> dict[str, Any]:
        expired = time.time() - HOUR if self.setting.sas == "expired" else None
        return {"client_id": self.setting.client_id, "username": self.setting.username, "sas_expires": expired}

    def send(self, body: Any, properties: dict[str, str], message_id: str, timeout: float) -> str:
        """Send one message; returns what went wrong, or nothing once it is acknowledged."""
        if self.device is None:
            return "not connected; let it `connect` first"
        try:
            self.device.send(body, properties, message_id=message_id, timeout=timeout)
        except LeafError as error:
            return str(error)
        return ""

    def leave(self) -> None:
        """Disconnect if connected."""
        device, self.device = self.device, None
        if device is not None:
            with suppress(LeafError):
                device.disconnect()


def casting(scenario: Scenario, gateway: Gateway, seed: int | None, folder: Path, base: Path) -> dict[str, Actor]:
    """Register every leaf of the scenario and give it what it needs."""
    actors = {}
    for name in scenario.leaf_names:
        setting = scenario.leaf(name)
        connection = _connection(name, setting, gateway, seed)
        pem = _trust_file(name, setting.trust, gateway, folder, base)
        actors[name] = Actor(name, setting, connection, gateway.mqtt_port, pem)
    return actors


def register(gateway: Gateway, device_id: str, module_id: str | None, seed: int | None) -> None:
    """Register a device or module unless it is; with a seed its key follows from it."""
    for name in dict.fromkeys([None, module_id]):
        if gateway.registry.get(device_id, name) is None:
            key = "" if seed is None else _key(seed, device_id, name)
            gateway.registry.add(Registration(device_id, name, primary_key=key))


def _connection(name: str, setting: LeafSetting, gateway: Gateway, seed: int | None) -> ConnectionString:
    device_id = setting.device_id or name
    register(gateway, device_id, setting.module_id, seed)
    own = ConnectionString.parse(gateway.connection_string(device_id, setting.module_id))
    changes: dict[str, Any] = {"gateway_host_name": setting.gateway_host_name or gateway.hostname}
    if setting.host_name:
        changes["host_name"] = setting.host_name
    if setting.key == "wrong":
        changes["shared_access_key"] = _key(seed or 0, device_id, "a wrong key")
    return own.replace(**changes)


def _key(seed: int, device_id: str, module_id: str | None) -> str:
    return base64.b64encode(derive_bytes(seed, f"sas:{device_id}/{module_id or ''}")).decode()


def _trust_file(name: str, word: str, gateway: Gateway, folder: Path, base: Path) -> Path | None:
    if word == "none":
        return None
    if word not in TRUST_WORDS:
        return base / word
    path = folder / f"trust-{name}.pem"
    path.write_bytes(trusted(word, gateway.chain))
    return path
