"""The leaves of a scenario: each with its registration at the hub, its connection string, and what it trusts."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certs import Chain, Level, Role
from certs.files import write_new
from certs.rekey import other_authority
from certs.renewal import identity_below
from gateway import Device as Registration
from gateway import Gateway
from leafsim import ClientCertificate, ConnectionString, Device, LeafError, connect_in_process
from scenarios.chainplan import derive_bytes, trusted
from scenarios.errors import NotAsExpected
from scenarios.mailbox import Mailbox
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
    certificate: ClientCertificate | None = None
    now: Callable[[], float] = time.time  # what its clock shows
    device: Device | None = field(default=None, init=False)
    mailbox: Mailbox = field(default_factory=Mailbox, init=False)

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
        proof = self.certificate
        self.device = Device(
            self.connection,
            trust=self.pem,
            port=port,
            connect_to=here,
            client_certificate=proof,
            on_message=self.mailbox.take,
            **self._oddities(),
        )
        self.device.connect(timeout=timeout)

    def _connect_in_process(self, timeout: float) -> None:
        """Only a process has a system store of its own; it connects, says how that went, and ends."""
        here = self.connect_to
        connect_in_process(
            self.connection, store=self.pem, port=self.port, connect_to=here, timeout=timeout, **self._oddities()
        )

    def _oddities(self) -> dict[str, Any]:
        expires = self.now() + (-HOUR if self.setting.sas == "expired" else HOUR)
        return {"client_id": self.setting.client_id, "username": self.setting.username, "sas_expires": expires}

    def send(self, body: Any, properties: dict[str, str], message_id: str, timeout: float) -> str:
        """Send one message; returns what went wrong, or nothing once it is acknowledged."""
        if self.device is None:
            return "not connected; let it `connect` first"
        try:
            self.device.send(body, properties, message_id=message_id, timeout=timeout)
        except LeafError as error:
            return str(error)
        return ""

    def listen(self, timeout: float) -> dict[str, Any] | None:
        """Subscribe to everything there is for it; returns its twin, None when that did not come."""
        if self.device is None:
            raise NotAsExpected(f"{self.name} connected", "it is not; let it `connect` first")
        return self.mailbox.open(self.device, timeout)

    def leave(self) -> None:
        """Disconnect if connected."""
        device, self.device = self.device, None
        if device is not None:
            with suppress(LeafError):
                device.disconnect()


def casting(
    scenario: Scenario,
    gateway: Gateway,
    seed: int | None,
    folder: Path,
    base: Path,
    *,
    chain: Chain | None = None,
    others: Level | None = None,
    now: Callable[[], float] = time.time,
) -> dict[str, Actor]:
    """Register every leaf of the scenario and give it what it needs.

    Leaves trust `chain`, by default what is served; `others` is another company's authority.
    """
    chain = chain or gateway.chain
    actors = {}
    for name in scenario.leaf_names:
        setting = scenario.leaf(name)
        connection = _connection(name, setting, gateway, seed)
        pem = _trust_file(name, setting.trust, folder, base)
        proof = None if setting.x509 is None else _proof(name, setting, chain, others, folder)
        actors[name] = Actor(name, setting, connection, gateway.mqtt_port, pem, proof, now)
        write_trust(actors[name], chain)
    return actors


def write_trust(actor: Actor, chain: Chain) -> None:
    """Let the leaf trust what its word says of that chain; a file of its own stays as it is."""
    if actor.setting.trust in TRUST_WORDS and actor.pem is not None:
        actor.pem.write_bytes(trusted(actor.setting.trust, chain))


def register(
    gateway: Gateway, device_id: str, module_id: str | None, seed: int | None, authentication: str = ""
) -> None:
    """Register a device or module unless it is; with a seed its key follows from it."""
    for name in dict.fromkeys([None, module_id]):
        if gateway.registry.get(device_id, name) is None:
            key = "" if seed is None else sas_key(seed, device_id, name)
            gateway.registry.add(Registration(device_id, name, primary_key=key, authentication=authentication))


def _connection(name: str, setting: LeafSetting, gateway: Gateway, seed: int | None) -> ConnectionString:
    device_id = setting.device_id or name
    register(gateway, device_id, setting.module_id, seed, "certificateAuthority" if setting.x509 else "")
    own = ConnectionString.parse(gateway.connection_string(device_id, setting.module_id))
    changes: dict[str, Any] = {"gateway_host_name": setting.gateway_host_name or gateway.hostname}
    if setting.host_name:
        changes["host_name"] = setting.host_name
    if setting.key == "wrong":
        changes["shared_access_key"] = sas_key(seed or 0, device_id, "a wrong key")
    return own.replace(**changes)


def sas_key(seed: int, device_id: str, module_id: str | None) -> str:
    """The key of a device or module that follows from a seed, base64."""
    return base64.b64encode(derive_bytes(seed, f"sas:{device_id}/{module_id or ''}")).decode()


def _trust_file(name: str, word: str, folder: Path, base: Path) -> Path | None:
    if word == "none":
        return None
    return folder / f"trust-{name}.pem" if word in TRUST_WORDS else base / word


def _proof(name: str, setting: LeafSetting, chain: Chain, others: Level | None, folder: Path) -> ClientCertificate:
    """Issue the leaf's identity certificate; it shows what lies between that and the root, too."""
    above = [level for level in chain.levels if level.role in (Role.INTERMEDIATE, Role.ROOT)] or [chain.root]
    issuers = above if setting.x509 == "root" else [others or other_authority(chain)]
    identity = identity_below(chain, issuers[0], setting.device_id or name)
    files = ClientCertificate(folder / f"identity-{name}.pem", folder / f"identity-{name}.key.pem")
    files.certificate.write_bytes(identity.pem + b"".join(level.pem for level in issuers[:-1]))
    write_new(files.key, identity.key_pem, private=True)
    return files
