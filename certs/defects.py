"""The catalogue of ways in which a hierarchy can be wrong: name -> one small function Chain -> Chain.

Rules: a defect changes what its sentence says and nothing else, and defects combine in any order. `verify_code` is what
OpenSSL 3 answers to the `documented` chain with that defect when a leaf connects by the host name, None where it
accepts it; tests/certs/test_defects.py proves each by a handshake. The other stacks: docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.chain import Chain, Role, Template
from certs.errors import CertsError, UnknownDefectError
from certs.extensions import key_usage
from certs.rekey import again, another

Change = Callable[[Chain], Chain]
_AGO = timedelta(days=1)
_AHEAD = timedelta(days=2)  # two, because a seeded issue time is the last midnight


@dataclass(frozen=True)
class Defect:
    """One entry of the catalogue."""

    name: str
    summary: str
    verify_code: int | None  # X509_V_ERR_..., None: OpenSSL 3 accepts it
    apply: Change


DEFECTS: dict[str, Defect] = {}


def apply_defects(chain: Chain, names: Iterable[str]) -> Chain:
    """Return the chain with all these defects."""
    wanted = list(names)
    for unknown in (one for one in wanted if one not in DEFECTS):
        raise UnknownDefectError(unknown, tuple(DEFECTS))
    for one in wanted:
        chain = DEFECTS[one].apply(chain)
    return chain


def _defect(verify_code: int | None) -> Callable[[Change], Change]:
    """Enter a function into the catalogue under its own name; its docstring is the summary."""

    def enter(change: Change) -> Change:
        title = change.__name__.replace("_", "-")
        DEFECTS[title] = Defect(title, " ".join((change.__doc__ or "").split()), verify_code, change)
        return change

    return enter


# --- what is sent ---------------------------------------------------------------------------------------------------


@_defect(20)
def missing_intermediate(chain: Chain) -> Chain:
    """The intermediate that signed the device CA is not sent: the device CA file was not the full chain."""
    return chain.without(Role.INTERMEDIATE)


@_defect(20)
def missing_device_ca(chain: Chain) -> Chain:
    """The device CA is not sent."""
    return chain.without(Role.DEVICE_CA)


@_defect(20)
def missing_workload_ca(chain: Chain) -> Chain:
    """The workload CA is not sent."""
    return chain.without(Role.WORKLOAD_CA)


@_defect(20)
def leaf_only(chain: Chain) -> Chain:
    """Only the server certificate is sent."""
    return chain.sending([chain.server.certificate])


@_defect(None)
def root_not_sent(chain: Chain) -> Chain:
    """The root is not sent, as TLS allows and the product does."""
    return chain.sending([one for one in chain.sent if one != chain.root.certificate])


@_defect(None)
def wrong_order(chain: Chain) -> Chain:
    """What follows the server certificate is sent in reverse order; Mbed TLS, wolfSSL and BearSSL refuse that."""
    first, *rest = chain.sent
    if len(rest) < 2:
        raise _impossible(chain, "wrong-order", "fewer than three certificates are sent")
    return chain.sending([first, *reversed(rest)])


@_defect(None)
def duplicate_certificate(chain: Chain) -> Chain:
    """The certificate that signed the server's is sent twice in a row."""
    if len(chain.sent) < 2:
        raise _impossible(chain, "duplicate-certificate", "only the server certificate is sent")
    return chain.sending([*chain.sent[:2], *chain.sent[1:]])


# --- authorities that may not sign ----------------------------------------------------------------------------------


@_defect(79)
def device_ca_not_ca(chain: Chain) -> Chain:
    """The device CA says CA:FALSE: an ordinary certificate was configured as device CA."""
    return chain.reissue(
        Role.DEVICE_CA, lambda old: old.with_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )


@_defect(79)
def device_ca_without_certsign(chain: Chain) -> Chain:
    """The device CA's key usage lacks certificate signing."""
    usage = key_usage(["digital_signature", "crl_sign"])
    return chain.reissue(Role.DEVICE_CA, lambda old: old.with_extension(usage, critical=True))


@_defect(25)
def path_length_too_small(chain: Chain) -> Chain:
    """An authority allows no further authority below itself, yet there is one."""
    if len(chain.levels) < 3:
        raise _impossible(chain, "path-length-too-small", "no authority has another one below it")
    old = chain.levels[2]  # the lowest that has an authority below
    limit = x509.BasicConstraints(ca=True, path_length=0)
    return chain.swap(old, old.reissue(old.template.with_extension(limit, critical=True)))


@_defect(None)
def server_is_ca(chain: Chain) -> Chain:
    """The server certificate says CA:TRUE."""
    limit = x509.BasicConstraints(ca=True, path_length=None)
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(limit))


# --- time -----------------------------------------------------------------------------------------------------------


@_defect(10)
def expired_server(chain: Chain) -> Chain:
    """The server certificate expired yesterday."""
    return _expired(chain, Role.SERVER)


@_defect(10)
def expired_workload_ca(chain: Chain) -> Chain:
    """The workload CA expired yesterday; what it signed has not."""
    return _expired(chain, Role.WORKLOAD_CA)


@_defect(10)
def expired_device_ca(chain: Chain) -> Chain:
    """The device CA expired yesterday; what it signed has not."""
    return _expired(chain, Role.DEVICE_CA)


@_defect(10)
def expired_intermediate(chain: Chain) -> Chain:
    """The intermediate expired yesterday; what it signed has not."""
    return _expired(chain, Role.INTERMEDIATE)


@_defect(10)
def expired_root(chain: Chain) -> Chain:
    """The root expired yesterday, and leaves trust that very certificate."""
    return _expired(chain, chain.root.role)


@_defect(None)
def server_outlives_issuer(chain: Chain) -> Chain:
    """The server certificate is valid 30 days longer than what signed it, as early daemons let it be."""
    if len(chain.levels) < 2:
        raise _impossible(chain, "server-outlives-issuer", "nothing signed it")
    end = chain.levels[1].template.not_after + timedelta(days=30)
    return chain.reissue(Role.SERVER, lambda old: replace(old, not_after=end))


@_defect(9)
def not_yet_valid_server(chain: Chain) -> Chain:
    """The server certificate is valid from the day after tomorrow: a clock is wrong."""
    start = chain.workshop.now() + _AHEAD
    end = timedelta(days=30)
    return chain.reissue(Role.SERVER, lambda old: replace(old, not_before=start, not_after=start + end))


# --- names ----------------------------------------------------------------------------------------------------------


@_defect(None)
def no_san(chain: Chain) -> Chain:
    """The server certificate has no subjectAltName; Go, rustls and cryptography do not look at the common name."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.SubjectAlternativeName))


@_defect(62)
def san_without_hostname(chain: Chain) -> Chain:
    """The server certificate's subjectAltName names something else; then the common name does not count."""
    other = "edgehub" if chain.hostname.lower() != "edgehub" else "other.test"
    names = x509.SubjectAlternativeName([x509.DNSName(other)])
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(names))


@_defect(None)
def ip_as_dns_san(chain: Chain) -> Chain:
    """IP addresses stand in the subjectAltName as DNS names, as up to 1.1: who connects by address is refused."""

    def change(old: Template) -> Template:
        san = old.get(x509.SubjectAlternativeName)
        names = [one for one in san or () if not isinstance(one, x509.IPAddress)]
        addresses = [str(one.value) for one in san or () if isinstance(one, x509.IPAddress)] or ["127.0.0.1"]
        return old.with_extension(x509.SubjectAlternativeName([*names, *map(x509.DNSName, addresses)]))

    return chain.reissue(Role.SERVER, change)


@_defect(26)
def server_client_auth_only(chain: Chain) -> Chain:
    """The server certificate is for clients: its extended key usage lacks server authentication."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(usage))


# --- identifiers and keys -------------------------------------------------------------------------------------------


@_defect(None)
def no_key_ids(chain: Chain) -> Chain:
    """No certificate has subject or authority key identifiers; strict verifiers and CN loops need them."""
    return chain.reissue_all(lambda old: old.template.without(x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier))


@_defect(None)
def device_ca_without_ski(chain: Chain) -> Chain:
    """The device CA has no subject key identifier, so what it signed carries no authority key identifier either."""
    device_ca = chain.level(Role.DEVICE_CA)
    below = chain.levels[chain.levels.index(device_ca) - 1]
    chain = chain.swap(below, below.reissue(below.template.without(x509.AuthorityKeyIdentifier)))
    return chain.reissue(Role.DEVICE_CA, lambda old: old.without(x509.SubjectKeyIdentifier))


@_defect(None)
def serial_zero(chain: Chain) -> Chain:
    """The server certificate has serial number 0, as from 1.2 on; rustls cannot decode that."""
    return chain.reissue(Role.SERVER, lambda old: replace(old, serial=0))


@_defect(19)
def same_named_root(chain: Chain) -> Chain:
    """The hierarchy hangs below a re-created root of the same name with another key; leaves trust the old one."""
    old, below = chain.root, chain.levels[-2]
    new = another(chain, old, "recreated-root")
    signed = again(below, key=below.key, serial=below.template.serial, issuer=new)
    return replace(chain.swap(below, signed).swap(old, new), trust=chain.trust)


@_defect(20)
def device_ca_replaced(chain: Chain) -> Chain:
    """The device CA was re-created with another key, but what the old one signed is still served."""
    old = chain.level(Role.DEVICE_CA)
    return chain.swap(old, another(chain, old, "replaced-device-ca"))


def _expired(chain: Chain, role: Role) -> Chain:
    end = chain.workshop.now() - _AGO
    start = end - timedelta(days=30)
    return chain.reissue(role, lambda old: replace(old, not_before=min(old.not_before, start), not_after=end))


def _impossible(chain: Chain, defect: str, why: str) -> CertsError:
    return CertsError(f"defect {defect!r} cannot be built into this chain of generation {chain.generation}: {why}")
