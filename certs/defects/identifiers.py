"""Key identifiers and serial numbers."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509

from certs.chain import Chain, Role, Template
from certs.defects.catalogue import impossible, theme
from certs.rekey import again

defect = theme("identifiers")


@defect(None)
def no_key_ids(chain: Chain) -> Chain:
    """No certificate has subject or authority key identifiers; strict verifiers and CN loops need them."""
    return chain.reissue_all(lambda old: old.template.without(x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier))


@defect(None)
def device_ca_without_ski(chain: Chain) -> Chain:
    """The device CA has no subject key identifier, so what it signed carries no authority key identifier either."""
    device_ca = chain.level(Role.DEVICE_CA)
    below = chain.levels[chain.levels.index(device_ca) - 1]
    chain = chain.swap(below, below.reissue(below.template.without(x509.AuthorityKeyIdentifier)))
    return chain.reissue(Role.DEVICE_CA, lambda old: old.without(x509.SubjectKeyIdentifier))


@defect(None)
def serial_zero(chain: Chain) -> Chain:
    """The server certificate has serial number 0, as from 1.2 on; rustls cannot decode that."""
    return chain.reissue(Role.SERVER, lambda old: replace(old, serial=0))


@defect(None)
def no_authority_key_ids(chain: Chain) -> Chain:
    """No certificate has an authority key identifier; they have subject key identifiers."""
    return chain.reissue_all(lambda old: old.template.without(x509.AuthorityKeyIdentifier))


@defect(20)
def workload_ca_points_to_another_key(chain: Chain) -> Chain:
    """The workload CA's authority key identifier names another key than the one that signed it."""

    def change(old: Template) -> Template:
        return old.with_extension(x509.AuthorityKeyIdentifier(b"\x5a" * 20, None, None))

    return chain.reissue(Role.WORKLOAD_CA, change)


@defect(20)
def workload_ca_points_to_another_serial(chain: Chain) -> Chain:
    """The workload CA's authority key identifier names another serial number than the device CA's."""

    def change(old: Template) -> Template:
        found = old.get(x509.AuthorityKeyIdentifier)
        if found is None or found.authority_cert_issuer is None or found.authority_cert_serial_number is None:
            why = "its workload CA names no issuer and serial number"
            raise impossible(chain, "workload-ca-points-to-another-serial", why)
        serial = found.authority_cert_serial_number + 1
        pointer = x509.AuthorityKeyIdentifier(found.key_identifier, found.authority_cert_issuer, serial)
        return old.with_extension(pointer)

    return chain.reissue(Role.WORKLOAD_CA, change)


@defect(None)
def serial_positive(chain: Chain) -> Chain:
    """No certificate has serial number 0: as RFC 5280 asks, and the product from 1.2 on does not do."""
    for level in (one for one in chain.levels if not one.template.serial):
        chain = chain.swap(level, level.reissue(replace(level.template, serial=chain.workshop.serial(level.role))))
    return chain


@defect(None)
def same_serials(chain: Chain) -> Chain:
    """All certificates have serial number 1; rustls objects."""
    issuer = None
    for level in reversed(chain.levels):
        signed = again(level, key=level.key, serial=1, issuer=issuer)
        chain, issuer = chain.swap(level, signed), signed
    return chain
