"""The change of owner: the operator's part of the hierarchy is wiped and made again, the manufacturer's part stays.

As IoT Edge's certificate article describes it: the device CA "provided by the manufacturer" is immutable, the workload
CA and what it signed belong to one deployment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from certs import names
from certs.chain import Chain, Level, Role
from certs.errors import DeviceCaNameError
from certs.hostname import alternative_names
from certs.issuing import issue
from certs.keys import generate, kind_of
from certs.profiles import CertProfile, Serial, generation
from certs.x509io import key_id

_OPERATORS = (Role.SERVER, Role.WORKLOAD_CA)


def transfer(chain: Chain, *, hostname: str | None = None, allow_cn_loop: bool = False) -> Chain:
    """Return the chain of the new owner: new keys below the device CA, which with all above stays byte for byte.

    `hostname` is the new owner's, where it changes. Defects of the operator's part are wiped with it.
    """
    result = replace(chain, hostname=chain.hostname if hostname is None else names.check_hostname(hostname))
    device_cas = [level.common_name for level in chain.levels if level.role is Role.DEVICE_CA]
    if not allow_cn_loop and (clash := names.first_equal(result.hostname, device_cas)):
        raise DeviceCaNameError(clash, result.hostname)
    addresses = [str(one) for one in alternative_names(chain.server.certificate)[1] if str(one) != chain.hostname]
    for position in reversed(range(len(chain.levels))):
        old = chain.levels[position]
        if old.role in _OPERATORS:
            result = result.swap(old, _remade(result, old, result.levels[position + 1], addresses))
    return result


def _remade(chain: Chain, old: Level, issuer: Level, ip_san: Sequence[str]) -> Level:
    """Issue an operator's level again, with a new key, as the generation's daemon does."""
    row = generation(chain.generation)
    profile: CertProfile = row.server if old.role is Role.SERVER or row.workload_ca is None else row.workload_ca
    purpose = "transfer:" + hashlib.sha256(key_id(old.key)).hexdigest()[:16]  # another one at each transfer
    kind = kind_of(old.key)
    repeats = chain.workshop.seed is not None and not kind.startswith("rsa")
    return issue(
        profile,
        values={"host": row.written_name(chain.hostname)},
        key=chain.workshop.key(kind, purpose) if repeats else generate(kind),
        serial=0 if profile.serial is Serial.ZERO else chain.workshop.serial(purpose),
        now=chain.workshop.now(),
        issuer=issuer,
        ip_san=ip_san,
    )
