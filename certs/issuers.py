"""Who signs a leaf device's identity certificate besides the intermediate: the authorities of a gateway.

With DPS, or with IoT Hub's X.509 authorities, a verifier that has only the root accepts such a certificate when the
device sends everything in between (RFC 5280, 6.1). A path length of 0 at the issuer is enough: it counts authorities
below it, and an identity is none (4.2.1.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from certs import files, layout
from certs.chain import Level, Role, Template
from certs.errors import CertsError
from certs.path import is_ca
from certs.rules.authority import no_authority

#: authorities of a state folder that may sign an identity
OF_GATEWAY = (Role.INTERMEDIATE, Role.DEVICE_CA, Role.WORKLOAD_CA)
_FULL_CHAIN = "-full-chain.cert.pem"
_PREFIXES = ("iot-edge-device-ca-", "iot-edge-device-")


@dataclass(frozen=True)
class Issuer:
    """An authority with its key, and what hangs above it: `chain` begins with itself and ends with the root."""

    level: Level
    chain: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        """Refuse an authority whose signature no verifier accepts."""
        if wrong := no_authority(self.level.certificate):
            raise CertsError(f"{wrong.cause} ({wrong.evidence})", wrong.fix)


def of_state(state: Path, role: Role) -> Issuer:
    """Return the authority of that role of a gateway's state folder (`leafgate up --state`)."""
    chain = layout.load(state)
    level = chain.level(role)
    return Issuer(level, tuple(one.certificate for one in chain.levels[chain.levels.index(level) :]))


def of_working_folder(folder: Path, name: str = "") -> Issuer:
    """Return the device CA that the scripts made there for the gateway `name`, or the only one there is."""
    found = _device_cas(folder)
    wanted = {prefix: one for prefix, one in found.items() if prefix in [start + name for start in _PREFIXES]}
    chosen = wanted if name else found
    if not chosen:
        what = f"device CA of {name!r}" if name else "device CA"
        raise CertsError(f"{folder} has no {what} yet", "run create_edge_device_ca_certificate there first")
    if len(chosen) > 1 and not name:
        names = ", ".join(sorted({_gateway(prefix) for prefix in chosen}))
        raise CertsError(f"{folder} has several device CAs: {names}", "choose one with --issuer device-ca:NAME")
    prefix, chain = min(chosen.items(), key=lambda item: not item[0].startswith(_PREFIXES[0]))
    key = files.read_own_key(folder / "private" / f"{prefix}.key.pem")
    return Issuer(Level(Role.DEVICE_CA, Template.of(chain[0]), chain[0], key), tuple(chain))


def _device_cas(folder: Path) -> dict[str, list[x509.Certificate]]:
    """The full chains of all authorities that the scripts made for gateways, by the prefix of their files."""
    paths = sorted((folder / "certs").glob(f"{_PREFIXES[1]}*{_FULL_CHAIN}"))
    chains = {path.name.removesuffix(_FULL_CHAIN): files.read_certificates(path) for path in paths}
    return {prefix: chain for prefix, chain in chains.items() if is_ca(chain[0])}


def _gateway(prefix: str) -> str:
    return prefix.removeprefix(_PREFIXES[0]).removeprefix(_PREFIXES[1])
