"""What leaves trust: the wrong root, too little, or too much."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509

from certs.chain import Chain, Level, Role
from certs.defects.catalogue import theme
from certs.rekey import again, other_root
from certs.rekey import same_named_root as root_of_that_name

defect = theme("what is trusted")


@defect(19)
def other_root_trusted(chain: Chain) -> Chain:
    """Leaves trust somebody else's root."""
    return _trusting(chain, other_root(chain))


@defect(2)
def device_ca_trusted(chain: Chain) -> Chain:
    """Leaves trust the device CA alone, not the root; OpenSSL wants a root unless partial chains are allowed."""
    return _trusting(chain, chain.level(Role.DEVICE_CA).certificate)


@defect(2)
def intermediate_trusted(chain: Chain) -> Chain:
    """Leaves trust the intermediate alone, not the root."""
    return _trusting(chain, chain.level(Role.INTERMEDIATE).certificate)


@defect(19)
def server_trusted(chain: Chain) -> Chain:
    """Leaves trust the server certificate itself and nothing else."""
    return _trusting(chain, chain.server.certificate)


@defect(None)
def intermediate_trusted_too(chain: Chain) -> Chain:
    """Leaves trust the root and have the intermediate at hand."""
    return _trusting(chain, *chain.trust, chain.level(Role.INTERMEDIATE).certificate)


@defect(None)
def both_roots_trusted(chain: Chain) -> Chain:
    """Leaves trust an earlier root of the same name as well."""
    return _trusting(chain, root_of_that_name(chain), *chain.trust)


@defect(19)
def stale_root_trusted(chain: Chain) -> Chain:
    """Leaves trust an earlier root of the same name: the root was made again, and they were not told."""
    return _trusting(chain, root_of_that_name(chain))


@defect(19)
def renewed_root_trusted(chain: Chain) -> Chain:
    """Leaves trust a root that was renewed with its key; what it signed still names the earlier serial number."""
    renewed = again(chain.root, key=chain.root.key, serial=chain.workshop.serial("renewed-root"))
    return _trusting(chain, renewed.certificate)


@defect(18)
def self_signed_server(chain: Chain) -> Chain:
    """The server certificate is self-signed, below no authority at all."""
    old = chain.server
    template = old.template.without(x509.AuthorityKeyIdentifier)
    alone = chain.swap(old, Level.issue(old.role, template, old.key))
    return alone.sending([alone.server.certificate])


def _trusting(chain: Chain, *certificates: x509.Certificate) -> Chain:
    return replace(chain, trust=tuple(certificates))
