"""From what a user or a scenario asks for to the chain that the gateway serves and the roots that leaves trust.

Rule: with a seed, everything that can repeat does: serials, EC keys and signatures, and the issue time, which is the
start of the day. RSA keys come out of a cache on this machine; they repeat here, not elsewhere.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from certs import Authority, Chain, Role, apply_defects, other_root, same_named_root
from certs.existing import DeviceCa, below
from certs.renewal import limit_device_ca

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ChainPlan:
    """How a chain is to be made; the fields are the options of `leafgate up` and of a scenario's `gateway`."""

    hostname: str = "localhost"
    generation: str = "documented"
    device_ca_cn: str | None = None
    intermediates: int | Sequence[str] = 1
    key: str | None = None
    ip_san: Sequence[str] = ()
    defects: Sequence[str] = ()
    send: Sequence[str] | None = None
    client_names: Sequence[str] = ()
    allow_cn_loop: bool = False
    days: int | None = None
    device_ca_days: int | None = None
    seed: int | None = None
    device_ca: DeviceCa | None = None

    def build(self) -> Chain:
        """Make the chain, spoil it as asked, and choose what goes on the wire."""
        chain = self._chain() if self.device_ca is None else self._below(self.device_ca)
        if self.device_ca_days is not None:
            chain = limit_device_ca(chain, self.device_ca_days)
        chain = apply_defects(chain, self.defects)
        if self.send is None:
            return chain
        return chain.sending([level.certificate for role in self.send for level in chain.levels if level.role == role])

    def _chain(self) -> Chain:
        authority = Authority(
            hostname=self.hostname,
            generation=self.generation,
            device_ca_cn=self.device_ca_cn,
            intermediates=self.intermediates,
            key=self.key,
            ip_san=self.ip_san,
            client_names=self.client_names,
            allow_cn_loop=self.allow_cn_loop,
            days=self.days,
            seed=self.seed,
        )
        return authority.chain()

    def _below(self, device_ca: DeviceCa) -> Chain:
        return below(
            device_ca.certificates,
            device_ca.key,
            hostname=self.hostname,
            generation=self.generation,
            trust=device_ca.trust,
            key_kind=self.key,
            ip_san=self.ip_san,
            client_names=self.client_names,
            allow_cn_loop=self.allow_cn_loop,
            seed=self.seed,
        )


def trusted(word: str, chain: Chain) -> bytes:
    """The PEM that a leaf trusts when its `trust` is `word`."""
    match word:
        case "root" | "system":
            return chain.trust_pem
        case "same-named-root":
            return same_named_root(chain).public_bytes(Encoding.PEM)
        case "other-root":
            return other_root(chain).public_bytes(Encoding.PEM)
        case "device-ca":
            return chain.level(Role.DEVICE_CA).pem
        case "intermediate":
            return chain.level(Role.INTERMEDIATE).pem
    raise ValueError(word)


def new_seed() -> int:
    """A seed for what was not given one."""
    return secrets.randbelow(LARGEST_SEED + 1)


def derive(seed: int, purpose: str) -> int:
    """A number that follows from the seed, different for each purpose."""
    return int.from_bytes(derive_bytes(seed, purpose)[:6], "big")


def derive_bytes(seed: int, purpose: str) -> bytes:
    """32 bytes that follow from the seed, different for each purpose."""
    return hashlib.sha256(f"leafgate scenarios:{seed}:{purpose}".encode()).digest()
