"""Keys and signatures: replaced, too short, or made in a way that nobody accepts any more."""

from __future__ import annotations

from dataclasses import replace

from certs.chain import Chain, Level, Role
from certs.defects.catalogue import theme
from certs.rekey import again, another

defect = theme("keys and signatures")


@defect(19)
def same_named_root(chain: Chain) -> Chain:
    """The hierarchy hangs below a re-created root of the same name with another key; leaves trust the old one."""
    old, below = chain.root, chain.levels[-2]
    new = another(chain, old, "recreated-root")
    signed = again(below, key=below.key, serial=below.template.serial, issuer=new)
    return replace(chain.swap(below, signed).swap(old, new), trust=chain.trust)


@defect(20)
def device_ca_replaced(chain: Chain) -> Chain:
    """The device CA was re-created with another key, but what the old one signed is still served."""
    old = chain.level(Role.DEVICE_CA)
    return chain.swap(old, another(chain, old, "replaced-device-ca"))


@defect(None)
def key_of_another_certificate(chain: Chain) -> Chain:
    """The private key is not the server certificate's: a server does not even start with that."""
    return chain.swap(chain.server, replace(chain.server, key=chain.levels[1].key))


@defect(66)
def server_rsa_1024(chain: Chain) -> Chain:
    """The server certificate has an RSA key of 1,024 bits."""
    return chain.swap(chain.server, _short(chain, chain.server))


@defect(67)
def device_ca_rsa_1024(chain: Chain) -> Chain:
    """The device CA has an RSA key of 1,024 bits."""
    old = chain.level(Role.DEVICE_CA)
    new, below = _short(chain, old), chain.levels[chain.levels.index(old) - 1]
    signed = again(below, key=below.key, serial=below.template.serial, issuer=new)
    return chain.swap(below, signed).swap(old, new)


@defect(68)
def server_sha1(chain: Chain) -> Chain:
    """The server certificate is signed with SHA-1."""
    return _sha1(chain, Role.SERVER)


@defect(68)
def device_ca_sha1(chain: Chain) -> Chain:
    """The device CA is signed with SHA-1."""
    return _sha1(chain, Role.DEVICE_CA)


@defect(None)
def root_sha1(chain: Chain) -> Chain:
    """The root is signed with SHA-1, which matters to nobody: a trusted root's signature is not looked at."""
    return _sha1(chain, chain.root.role)


def _sha1(chain: Chain, role: Role) -> Chain:
    return chain.reissue(role, lambda old: replace(old, sha1=True))


def _short(chain: Chain, old: Level) -> Level:
    return again(old, key=chain.workshop.key("rsa1024", f"short-{old.role}"), serial=old.template.serial)
