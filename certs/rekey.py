"""Issuing a certificate once more with another key: renewed hierarchies, and what a leaf may wrongly trust."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509

from certs.chain import Chain, Level, Template
from certs.keys import PrivateKey, kind_of
from certs.names import name
from certs.x509io import serial_of


def again(old: Level, *, key: PrivateKey, serial: int, issuer: Level | None = None) -> Level:
    """Issue a level once more with this key and serial number, by `issuer` or else by who signed it before.

    Key identifiers follow the keys; a serial number that the product never sets (0) stays so.
    """
    template = replace(old.template, serial=serial if old.template.serial else 0)
    if template.get(x509.SubjectKeyIdentifier):
        template = template.with_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()))
    if issuer is not None:
        template = pointing_to(template, issuer)
        return Level.issue(old.role, template, key, issuer.as_signer())
    if old.signer is None:
        template = _pointing(template, key_id_in(template), template.subject, template.serial)
    return Level.issue(old.role, template, key, old.signer)


def another(chain: Chain, old: Level, purpose: str, issuer: Level | None = None) -> Level:
    """Issue a level of this chain once more with a key and a serial number made for that purpose."""
    key = chain.workshop.key(kind_of(old.key), purpose)
    return again(old, key=key, serial=chain.workshop.serial(purpose), issuer=issuer)


def renamed(chain: Chain, old: Level, subject: x509.Name) -> Chain:
    """Give a level another subject, with its key, and sign everything below it again so that it is named as issuer."""
    issuer = again(
        replace(old, template=replace(old.template, subject=subject)), key=old.key, serial=old.template.serial
    )
    position = chain.levels.index(old)
    chain = chain.swap(old, issuer)
    for below in reversed(chain.levels[:position]):
        signed = again(below, key=below.key, serial=below.template.serial, issuer=issuer)
        chain, issuer = chain.swap(below, signed), signed
    return chain


def same_named_root(chain: Chain) -> x509.Certificate:
    """Return a root with the name of this chain's root and another key: the scripts were run twice."""
    return another(chain, chain.root, "stale-root").certificate


def other_root(chain: Chain, common_name: str = "Another Company Root CA") -> x509.Certificate:
    """Return the root of somebody else."""
    return other_authority(chain, common_name).certificate


def other_authority(chain: Chain, common_name: str = "Another Company Root CA") -> Level:
    """Return the same with its key, for issuing something below it."""
    template = replace(chain.root.template, subject=name(common_name))
    return another(chain, replace(chain.root, template=template), "other-root")


def pointing_to(template: Template, issuer: Level) -> Template:
    """Return the template with its authority key identifier, if it has one, pointing to that issuer."""
    certificate = issuer.certificate
    return _pointing(template, key_id_in(issuer.template), certificate.issuer, serial_of(certificate))


def key_id_in(template: Template) -> bytes | None:
    """Return the template's subject key identifier."""
    found = template.get(x509.SubjectKeyIdentifier)
    return found.digest if found else None


def _pointing(template: Template, key_id: bytes | None, issuer: x509.Name, serial: int) -> Template:
    """Fill in the forms of identification that the template already uses: key id, issuer and serial, or both."""
    old = template.get(x509.AuthorityKeyIdentifier)
    if old is None:
        return template
    if old.authority_cert_issuer is None:
        return template.with_extension(x509.AuthorityKeyIdentifier(key_id, None, None))
    names = [x509.DirectoryName(issuer)]
    return template.with_extension(x509.AuthorityKeyIdentifier(key_id if old.key_identifier else None, names, serial))
