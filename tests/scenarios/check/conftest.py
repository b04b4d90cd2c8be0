"""A gateway on loopback whose chain a test can change, and folders with the files of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from certs import Authority, Chain, Role
from scenarios.check.model import Outcome, Status
from scenarios.check.registry import checks
from scenarios.check.subject import (
    EDGE_CA,
    HTTPS,
    IDENTITY,
    MQTT,
    TRUST_BUNDLE,
    Address,
    Configured,
    Preloaded,
    Subject,
)
from scenarios.rig import GatewayHandle

NAME = "gw.factory.test"


def authority(**options: object) -> Authority:
    """An authority with quick keys."""
    return Authority(**({"hostname": NAME, "seed": 1} | options))


def outcomes(subject: Subject) -> dict[str, Outcome]:
    """What comes of every check, by its id."""
    return {check.id: check.run(subject) for check in checks()}


def findings(subject: Subject, status: Status) -> dict[str, list[str]]:
    """The messages of the checks that end that way, by id."""
    return {
        name: [finding.message for finding in outcome.findings]
        for name, outcome in outcomes(subject).items()
        if outcome.status is status
    }


def subject(
    configured: Configured | str = "no configuration",
    *,
    heads: Mapping[str, Address | str] | None = None,
    trust: Path | None = None,
    name: str | None = NAME,
    **more: object,
) -> Subject:
    """What is checked, from the facts at hand."""
    return Subject(configured, heads or {}, name, trust, **({"hub": {}} | more))


@dataclass
class Served:
    """The gateway of a test module, and what its leaves trust."""

    gateway: GatewayHandle
    folder: Path

    def serve(self, chain: Chain) -> None:
        """Serve another chain from now on."""
        self.gateway.reload(chain)

    @property
    def heads(self) -> dict[str, Address]:
        """Where it listens."""
        assert self.gateway.https_port is not None
        bind = self.gateway.bind
        return {MQTT: (bind, self.gateway.mqtt_port), HTTPS: (bind, self.gateway.https_port)}

    def subject(self, trust: bytes | None = None, **more: object) -> Subject:
        """What is checked, for leaves that trust the chain's root, or `trust`."""
        path = self.folder / "trust.pem"
        path.write_bytes(self.gateway.chain.trust_pem if trust is None else trust)
        return subject(**({"heads": self.heads, "trust": path} | more))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running gateway with a healthy chain and a leaf."""
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayHandle(folder, chain=authority().chain()) as gateway:
        gateway.leaf("press-7")
        yield Served(gateway, folder)


@dataclass
class Files:
    """The files of a gateway's configuration; a test spoils one of them."""

    folder: Path
    chain: Chain

    @property
    def device_ca(self) -> Path:
        """The device CA's full chain."""
        return self.folder / "device-ca-full-chain.cert.pem"

    @property
    def device_ca_key(self) -> Path:
        """Its key."""
        return self.folder / "device-ca.key.pem"

    @property
    def bundle(self) -> Path:
        """The trust bundle."""
        return self.folder / "root.pem"

    @property
    def identity(self) -> Path:
        """The gateway's own identity."""
        return self.folder / "identity.pem"

    def write(self) -> None:
        """Write all of them as they should be."""
        level = self.chain.level(Role.DEVICE_CA)
        at = self.chain.levels.index(level)
        self.device_ca.write_bytes(b"".join(one.pem for one in self.chain.levels[at:]))
        self.device_ca_key.write_bytes(level.key_pem)
        self.device_ca_key.chmod(0o600)
        self.bundle.write_bytes(self.chain.trust_pem)
        self.identity.write_bytes(level.pem)

    def configured(self, **more: object) -> Configured:
        """The configuration that names them."""
        files = (
            Preloaded(EDGE_CA, "device CA certificate", self.device_ca, self.device_ca_key),
            Preloaded(TRUST_BUNDLE, "trust bundle", self.bundle),
            Preloaded(IDENTITY, "identity certificate", self.identity),
        )
        return Configured(**({"hostname": NAME, "files": files, "workload_ca": True} | more))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of a healthy configuration."""
    made = Files(tmp_path, authority().chain())
    made.write()
    return made
