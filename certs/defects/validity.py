"""Time: what has expired, and what is not valid yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from certs.chain import Chain, Role
from certs.defects.catalogue import impossible, theme

defect = theme("time")
_AGO = timedelta(days=1)
_AHEAD = timedelta(days=2)  # two, because a seeded issue time is the last midnight


@defect(10)
def expired_server(chain: Chain) -> Chain:
    """The server certificate expired yesterday."""
    return _expired(chain, Role.SERVER)


@defect(10)
def expired_workload_ca(chain: Chain) -> Chain:
    """The workload CA expired yesterday; what it signed has not."""
    return _expired(chain, Role.WORKLOAD_CA)


@defect(10)
def expired_device_ca(chain: Chain) -> Chain:
    """The device CA expired yesterday; what it signed has not."""
    return _expired(chain, Role.DEVICE_CA)


@defect(10)
def expired_intermediate(chain: Chain) -> Chain:
    """The intermediate expired yesterday; what it signed has not."""
    return _expired(chain, Role.INTERMEDIATE)


@defect(10)
def expired_root(chain: Chain) -> Chain:
    """The root expired yesterday, and leaves trust that very certificate."""
    return _expired(chain, chain.root.role)


@defect(None)
def server_outlives_issuer(chain: Chain) -> Chain:
    """The server certificate is valid 30 days longer than what signed it, as early daemons let it be."""
    if len(chain.levels) < 2:
        raise impossible(chain, "server-outlives-issuer", "nothing signed it")
    end = chain.levels[1].template.not_after + timedelta(days=30)
    return chain.reissue(Role.SERVER, lambda old: replace(old, not_after=end))


@defect(9)
def not_yet_valid_server(chain: Chain) -> Chain:
    """The server certificate is valid from the day after tomorrow: a clock is wrong."""
    return _not_yet(chain, Role.SERVER)


@defect(9)
def not_yet_valid_workload_ca(chain: Chain) -> Chain:
    """The workload CA is valid from the day after tomorrow."""
    return _not_yet(chain, Role.WORKLOAD_CA)


@defect(9)
def not_yet_valid_root(chain: Chain) -> Chain:
    """The root is valid from the day after tomorrow, and leaves trust that very certificate."""
    return _not_yet(chain, chain.root.role)


def _not_yet(chain: Chain, role: Role) -> Chain:
    start = chain.workshop.now() + _AHEAD
    return chain.reissue(
        role, lambda old: replace(old, not_before=start, not_after=max(old.not_after, start + timedelta(days=30)))
    )


def _expired(chain: Chain, role: Role) -> Chain:
    end = chain.workshop.now() - _AGO
    start = end - timedelta(days=30)
    return chain.reissue(role, lambda old: replace(old, not_before=min(old.not_before, start), not_after=end))
