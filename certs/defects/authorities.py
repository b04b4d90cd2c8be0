"""Authorities that may not sign, and certificates with the wrong purpose."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from certs.chain import Chain, Role, Template
from certs.defects.catalogue import impossible, theme
from certs.extensions import key_usage
from certs.rekey import again

defect = theme("authorities and purposes")


@defect(79)
def device_ca_not_ca(chain: Chain) -> Chain:
    """The device CA says CA:FALSE: an ordinary certificate was configured as device CA."""
    return chain.reissue(
        Role.DEVICE_CA, lambda old: old.with_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )


@defect(79)
def device_ca_without_certsign(chain: Chain) -> Chain:
    """The device CA's key usage lacks certificate signing."""
    usage = key_usage(["digital_signature", "crl_sign"])
    return chain.reissue(Role.DEVICE_CA, lambda old: old.with_extension(usage, critical=True))


@defect(25)
def path_length_too_small(chain: Chain) -> Chain:
    """An authority allows no further authority below itself, yet there is one."""
    if len(chain.levels) < 3:
        raise impossible(chain, "path-length-too-small", "no authority has another one below it")
    old = chain.levels[2]  # the lowest that has an authority below
    limit = x509.BasicConstraints(ca=True, path_length=0)
    return chain.swap(old, old.reissue(old.template.with_extension(limit, critical=True)))


@defect(None)
def server_is_ca(chain: Chain) -> Chain:
    """The server certificate says CA:TRUE."""
    limit = x509.BasicConstraints(ca=True, path_length=None)
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(limit))


@defect(79)
def device_ca_without_basic_constraints(chain: Chain) -> Chain:
    """The device CA does not say whether it is an authority."""
    return chain.reissue(Role.DEVICE_CA, lambda old: old.without(x509.BasicConstraints))


@defect(79)
def device_ca_plain_certificate(chain: Chain) -> Chain:
    """The device CA has neither basic constraints nor key usage: some certificate was configured."""
    return chain.reissue(Role.DEVICE_CA, lambda old: old.without(x509.BasicConstraints, x509.KeyUsage))


@defect(25)
def device_ca_path_length_zero(chain: Chain) -> Chain:
    """The device CA allows no authority below itself: right from 1.2 on, too little for a workload CA."""
    return chain.reissue(Role.DEVICE_CA, lambda old: _path_length(old, 0))


@defect(25)
def intermediate_path_length_zero(chain: Chain) -> Chain:
    """The intermediate allows no authority below itself, yet there is the device CA."""
    return chain.reissue(Role.INTERMEDIATE, lambda old: _path_length(old, 0))


@defect(25)
def root_path_length_one(chain: Chain) -> Chain:
    """The root allows one authority below itself and there are more; Java and wolfSSL do not mind."""
    return chain.reissue(chain.root.role, lambda old: _path_length(old, 1))


@defect(None)
def signed_by_device_ca(chain: Chain) -> Chain:
    """There is no workload CA: the device CA signed the server certificate itself, as from 1.2 on."""
    gone = chain.level(Role.WORKLOAD_CA)
    below = chain.levels[chain.levels.index(gone) - 1]
    device_ca = chain.level(Role.DEVICE_CA)
    chain = chain.without(Role.WORKLOAD_CA)
    signed = again(below, key=below.key, serial=below.template.serial, issuer=device_ca)
    levels = tuple(level for level in chain.levels if level is not gone)
    return replace(chain, levels=levels).swap(below, signed)


@defect(None)
def server_without_basic_constraints(chain: Chain) -> Chain:
    """The server certificate does not say that it is no authority."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.BasicConstraints))


@defect(None)
def server_without_key_usage(chain: Chain) -> Chain:
    """The server certificate has no key usage, as up to 1.0.3 and from 1.2 on."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.KeyUsage))


@defect(26)
def server_client_auth_only(chain: Chain) -> Chain:
    """The server certificate is for clients: its extended key usage lacks server authentication."""
    return _for(chain, Role.SERVER, ExtendedKeyUsageOID.CLIENT_AUTH)


@defect(None)
def server_without_extended_key_usage(chain: Chain) -> Chain:
    """The server certificate says nothing of its purpose."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.ExtendedKeyUsage))


@defect(26)
def workload_ca_client_auth_only(chain: Chain) -> Chain:
    """The workload CA is for clients: its extended key usage lacks server authentication."""
    return _for(chain, Role.WORKLOAD_CA, ExtendedKeyUsageOID.CLIENT_AUTH)


@defect(None)
def workload_ca_server_auth(chain: Chain) -> Chain:
    """The workload CA has an extended key usage, with server authentication."""
    return _for(chain, Role.WORKLOAD_CA, ExtendedKeyUsageOID.SERVER_AUTH)


@defect(None)
def name_constraints_kept(chain: Chain) -> Chain:
    """The device CA may sign for the gateway's domain only; stacks that know no name constraints refuse that."""
    parent = chain.hostname.partition(".")[2] or chain.hostname
    return _constrained(chain, parent, "edgehub")


@defect(47)
def name_constraints_violated(chain: Chain) -> Chain:
    """The device CA may sign for another domain only."""
    return _constrained(chain, "factory.example")


def _constrained(chain: Chain, *domains: str) -> Chain:
    allowed = x509.NameConstraints([x509.DNSName(one) for one in domains], None)
    return chain.reissue(Role.DEVICE_CA, lambda old: old.with_extension(allowed, critical=True))


def _path_length(old: Template, length: int) -> Template:
    return old.with_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)


def _for(chain: Chain, role: Role, purpose: ObjectIdentifier) -> Chain:
    return chain.reissue(role, lambda old: old.with_extension(x509.ExtendedKeyUsage([purpose])))
