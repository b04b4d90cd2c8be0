"""A certificate issued once more, with a new key and new dates, as the security daemon does over a gateway's life.

Rules: what a certificate says besides (names, extensions, mistakes made on purpose) stays; nothing outlives its issuer.
Sources: edgelet-http-workload (module/cert/server.rs, edge_ca.rs) in Azure/iotedge, aziot-certd in
Azure/iot-identity-service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from certs.chain import Chain, Level, Role
from certs.issuing import issue
from certs.keys import PrivateKey, kind_of
from certs.profiles import generation
from certs.rekey import again
from certs.x509io import key_id

#: OpenSSL asks time(), whose second begins some milliseconds late: see certs.workshop
_TICK = timedelta(seconds=1)


def renew_server(chain: Chain, now: datetime, *, lifetime: timedelta | None = None) -> Chain:
    """Return the chain with a new server certificate below what is above it now, as each start of Edge Hub gets one.

    It lives as long as the generation's do, or `lifetime`.
    """
    days = generation(chain.generation).server.days
    wanted = lifetime or (_lifetime(chain.server) if days is None else timedelta(days=days))
    return _renewed(chain, chain.server, now, wanted)


def renew_device_ca(chain: Chain, now: datetime, *, rotate_key: bool = True, whole: bool = True) -> Chain:
    """Return the chain with a new device CA of the same name and lifetime, and with what is below it issued by it.

    Without `whole`, what the old one signed stays. A self-signed one is a new root, too. Raises NoSuchLevelError.
    """
    old = chain.level(Role.DEVICE_CA)
    position = chain.levels.index(old)
    chain = _renewed(chain, old, now, _lifetime(old), None if rotate_key else old.key)
    for below in reversed(chain.levels[1:position] if whole else ()):
        chain = _renewed(chain, below, now, timedelta.max)
    return renew_server(chain, now) if whole else chain


def limit_device_ca(chain: Chain, days: int) -> Chain:
    """Return the chain whose device CA, and so all below it, ends after so many days at most."""
    last = chain.levels.index(chain.level(Role.DEVICE_CA))
    for old in chain.levels[: last + 1]:
        end = min(old.template.not_after, old.template.not_before + timedelta(days=days))
        chain = chain.swap(old, old.reissue(replace(old.template, not_after=end)))
    return chain


def identity_below(chain: Chain, issuer: Level, device_id: str) -> Level:
    """Return a leaf device's identity certificate, signed by `issuer`."""
    profile = generation(chain.generation).identity
    purpose = f"leaf:{Role.DEVICE}:{device_id}"
    return issue(
        profile,
        values={"id": device_id},
        key=chain.workshop.key(kind_of(issuer.key), purpose),
        serial=chain.workshop.serial(purpose),
        now=chain.workshop.now(),
        issuer=issuer,
        role=Role.DEVICE,
    )


def made_by_daemon(chain: Chain) -> bool:
    """Tell whether the device CA is the daemon's own (quickstart); one from a file is never renewed by it."""
    return generation(chain.generation).root is None


def earliest_expiry(certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    """Return the certificate that expires first."""
    return min(certificates, key=lambda one: one.not_valid_after_utc)


def _renewed(chain: Chain, old: Level, now: datetime, lifetime: timedelta, key: PrivateKey | None = None) -> Chain:
    position = chain.levels.index(old)
    issuer = chain.levels[position + 1] if position + 1 < len(chain.levels) else None
    start = now.replace(microsecond=0) - _TICK
    limit = issuer.template.not_after if issuer else datetime.max.replace(tzinfo=start.tzinfo)
    end = start + lifetime if lifetime < limit - start else limit
    dated = replace(old, template=replace(old.template, not_before=start, not_after=end))
    serial = chain.workshop.serial(f"renewed:{old.role}:{start.isoformat()}")
    return chain.swap(old, again(dated, key=key or _another_key(chain, old), serial=serial, issuer=issuer))


def _another_key(chain: Chain, old: Level) -> PrivateKey:
    """Return a key that is not the old one; out of a cache or a seed two take turns, so that neither grows."""
    kind = kind_of(old.key)
    first = chain.workshop.key(kind, f"renewed-{old.role}-1")
    return chain.workshop.key(kind, f"renewed-{old.role}-2") if key_id(first) == key_id(old.key) else first


def _lifetime(level: Level) -> timedelta:
    return level.template.not_after - level.template.not_before
