"""What is checked: the facts of a gateway as far as they are at hand, each looked at once however many checks ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509

from certs import Problem
from certs.capture import capture
from certs.diagnose import problems
from certs.errors import CaptureError
from certs.keys import PrivateKey
from leafsim import STACKS, Outcome, Target
from leafsim.tls import SYSTEM
from scenarios.check import pemfiles
from scenarios.check.model import NotApplicable, Skip

EDGE_CA, TRUST_BUNDLE, IDENTITY = "aziot-edged-ca", "aziot-edged-trust-bundle", "device-id"  # the product's ids
MQTT, HTTPS, AMQP = "mqtt", "https", "amqp"
PORTS = {MQTT: 8883, HTTPS: 443, AMQP: 5671}

Address = tuple[str, int]


@dataclass(frozen=True)
class Preloaded:
    """A certificate that is configured as a file, by the product's id for it, with the file of its key if it has one.

    A file is a Path; a text says why there is none to look at (it is in a PKCS#11 token, say).
    """

    id: str
    title: str
    certificate: Path | str
    key: Path | str | None = None
    key_uri: str | None = field(default=None, repr=False)  # of a PKCS #11 key; a PIN may be in it


@dataclass(frozen=True)
class Configured:
    """What a gateway's configuration says. Without `hostname` the daemon takes the machine's; `workload_ca` tells
    whether it puts one below the device CA (1.1).
    """

    hostname: str | None = ""
    parent_hostname: str | None = None
    hub_hostname: str | None = None
    workload_ca: bool = False
    quickstart: str | None = None  # how the daemon makes the device CA itself; None when one is configured
    files: tuple[Preloaded, ...] = ()


@dataclass(frozen=True)
class LeafDevice:
    """A leaf that is registered: may it connect, and below which gateway."""

    device_id: str
    enabled: bool
    in_scope: bool


@dataclass(frozen=True)
class Subject:
    """Everything that checks look at. Where a fact is not at hand, a text says why."""

    configured: Configured | str
    heads: Mapping[str, Address | str]  # of Edge Hub, by protocol
    name: str | None  # that leaves use for the gateway
    trust: Path | str | None  # what leaves trust
    hub: Mapping[str, Address | str]
    leaves: tuple[LeafDevice, ...] | str = "no registry is at hand: give --ready-file or --state"
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    timeout: float = 10.0

    @property
    def configuration(self) -> Configured:
        """The configuration; NotApplicable without one."""
        if isinstance(self.configured, str):
            raise NotApplicable(self.configured)
        return self.configured

    def preloaded(self, identity: str) -> Preloaded:
        """The configured file of that id; NotApplicable when there is none."""
        for one in self.configuration.files:
            if one.id == identity:
                return one
        raise NotApplicable(f"no {identity} is configured as a file")

    def head(self, protocol: str) -> Address:
        """Where Edge Hub listens for a protocol; Skip where that is not known."""
        found = self.heads.get(protocol, "its address is not known: give HOST:PORT or --ready-file")
        if isinstance(found, str):
            raise Skip(found)
        return found

    @cached_property
    def _certificates(self) -> dict[Path, pemfiles.Certificates]:
        return {}

    def certificates_in(self, path: Path) -> pemfiles.Certificates:
        """What a certificate file holds."""
        if path not in self._certificates:
            self._certificates[path] = pemfiles.read_certificates(path)
        return self._certificates[path]

    def readable(self, identity: str) -> tuple[x509.Certificate, ...]:
        """The certificates of a configured file; Skip when it cannot be read, which certs-read tells."""
        path = self.preloaded(identity).certificate
        if isinstance(path, str):
            raise Skip(path)
        found = self.certificates_in(path)
        if found.wrong or not found.certificates:
            raise Skip(f"{path} cannot be used, see certs-read")
        return found.certificates[: pemfiles.MOST]

    def key_of(self, one: Preloaded) -> PrivateKey | None:
        """The private key of a configured certificate; None when it cannot be read, which key-pairs-read tells."""
        return pemfiles.read_key(one.key).key if isinstance(one.key, Path) else None

    @cached_property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The certificates that leaves trust; Skip when no file is at hand or it cannot be read."""
        if self.trust is None or self.trust == SYSTEM:
            raise Skip("what leaves trust is not known: give --trust, a trust bundle or --ready-file")
        found = self.certificates_in(Path(self.trust))
        if found.wrong or not found.certificates:
            raise Skip(f"{self.trust} cannot be used: {found.wrong}")
        return found.certificates[: pemfiles.MOST]

    @cached_property
    def _capture(self) -> tuple[x509.Certificate, ...] | CaptureError:
        host, port = self.head(MQTT)
        try:
            return tuple(capture(host, port, server_name=self.name, timeout=self.timeout))
        except CaptureError as wrong:
            return wrong

    @property
    def served(self) -> tuple[x509.Certificate, ...]:
        """What Edge Hub serves; Skip when nothing came, which edge-hub-port-mqtt tells."""
        found = self._capture
        if isinstance(found, CaptureError):
            raise Skip("Edge Hub showed no certificate, see edge-hub-port-mqtt")
        return found

    @property
    def capture_error(self) -> CaptureError | None:
        """Why Edge Hub showed no certificate; Skip when its address is not known."""
        found = self._capture
        return found if isinstance(found, CaptureError) else None

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What the diagnose rules say to the served chain."""
        try:
            trust = self.trusted
        except Skip:
            trust = None
        return tuple(problems(self.served, name=self.name, trust=trust, now=self.now))

    @cached_property
    def handshake(self) -> Outcome:
        """What a leaf on OpenSSL makes of Edge Hub."""
        host, port = self.head(MQTT)
        _ = self.served, self.trusted
        return STACKS["python"].probe(Target(host, port, self.name or host, self.trust), self.timeout)
