"""A gateway below a device CA that exists already, as a real IoT Edge device gets one from files.

Rule: the certificates of the device CA and of those above it are taken as they are, right or wrong; leaves judge them.
Only what could not even start is refused: a key that is not the certificate's, or nothing that a leaf could trust.
Source: [edge_ca] cert and pk, and trust_bundle_cert, of IoT Edge's config.toml; the first certificate of the file is
the device CA's (aziot-certd in Azure/iot-identity-service takes it so).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509

from certs import files, names, path, pkcs11uri
from certs.chain import Chain, Level, Role, Signer, Template
from certs.elsewhere import KeyElsewhere, owners_key
from certs.errors import CertsError, DeviceCaNameError
from certs.issuing import issue
from certs.keys import KeySource, PrivateKey
from certs.pkcs11 import open_key
from certs.profiles import Serial, generation_below
from certs.workshop import Workshop
from certs.x509io import is_signed_by, key_id, public_key_id


@dataclass(frozen=True)
class DeviceCa:
    """A device CA as its owner hands it over: its certificate and those above it, its key, and the trust bundle."""

    certificates: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    trust: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(
        cls, full_chain: Path, key: str, *, trust_bundle: Path | None = None, module: str | None = None
    ) -> DeviceCa:
        """Read the files; for `key` and `module` see `read_key`."""
        trust = files.read_certificates(trust_bundle) if trust_bundle else ()
        return cls(tuple(files.read_certificates(full_chain)), read_key(key, module), tuple(trust))


def read_key(key: str, module: str | None = None) -> PrivateKey:
    """Read a PEM file, or open what a PKCS #11 URI names with the library `module`. Raises CertsError."""
    return open_key(pkcs11uri.parse(key), module) if pkcs11uri.is_uri(key) else files.read_key(Path(key))


def below(
    device_ca_chain: Sequence[x509.Certificate],
    key: PrivateKey,
    *,
    hostname: str,
    generation: str = "1.5",
    trust: Sequence[x509.Certificate] = (),
    key_kind: str | None = None,
    ip_san: Sequence[str] = (),
    client_names: Sequence[str] = (),
    allow_cn_loop: bool = False,
    seed: int | None = None,
    now: datetime | None = None,
    keys: KeySource | None = None,
) -> Chain:
    """Issue workload CA (where the generation has one) and server certificate below a device CA.

    `device_ca_chain` is the full-chain file: the device CA first, in any order after it, the root if it is there;
    `trust` is the trust bundle. `key` signs only, so it may be in a token. `key_kind` is for the new keys.
    Raises CertsError when the key is another's, the device CA bears the gateway's name, or no root is known.
    """
    row, hostname = generation_below(generation), names.check_hostname(hostname)
    device_ca, *above = _levels(device_ca_chain, trust)
    if key_id(key) != public_key_id(device_ca.certificate):
        raise CertsError(
            f'the key given is not the key of the device CA certificate, "{device_ca.common_name}"',
            "the first certificate of the file must be the device CA's own, and the key its key",
        )
    if not allow_cn_loop and (clash := names.first_equal(device_ca.common_name, (hostname, *client_names))):
        raise DeviceCaNameError(device_ca.common_name, clash)
    workshop = Workshop.of(keys=keys, seed=seed, now=now)
    device_ca = replace(device_ca, key=key)
    levels = [device_ca, *above]
    for profile in filter(None, (row.workload_ca, row.server)):
        level = issue(
            profile,
            values={"host": row.written_name(hostname)},
            key=workshop.key(key_kind or row.default_key or profile.key, profile.role),
            serial=0 if profile.serial is Serial.ZERO else workshop.serial(profile.role),
            now=workshop.now(),
            issuer=levels[0],
            ip_san=ip_san,
        )
        levels.insert(0, level)
    certificates = tuple(level.certificate for level in levels)
    sent = certificates if row.sends_root else tuple(one for one in certificates if not path.is_self_signed(one))
    return Chain(hostname, row.name, tuple(levels), sent, tuple(trust) or (levels[-1].certificate,), workshop)


def check_device_ca_key(chain: Chain) -> None:
    """See that a device CA whose key is elsewhere can sign. Raises CertsError."""
    for level in chain.levels:
        if level.role is Role.DEVICE_CA and isinstance(level.key, KeyElsewhere):
            level.key.check()


def with_device_ca_key(chain: Chain, key: PrivateKey) -> Chain:
    """Return a kept chain that signs with this key, which is its device CA's, wherever it is now."""
    old = chain.level(Role.DEVICE_CA)
    if key_id(key) != key_id(old.key):
        raise CertsError(
            f'the key given is not that of the chain kept, whose device CA is "{old.common_name}"',
            "choose another state folder for another device CA",
        )
    signer = Signer(old.template.subject, key)

    def renew(level: Level) -> Level:
        is_below = level.signer is not None and key_id(level.signer.key) == key_id(key)
        return replace(level, key=key if level is old else level.key, signer=signer if is_below else level.signer)

    return replace(chain, levels=tuple(renew(level) for level in chain.levels))


def _levels(chain: Sequence[x509.Certificate], trust: Sequence[x509.Certificate]) -> list[Level]:
    """Order the certificates from the device CA up; they come without their keys."""
    found = path.find(chain, trust)
    top = found.certificates[-1]
    if not trust and not path.is_self_signed(top):
        raise CertsError(
            f'no root is known: "{names.common_name(top.subject)}" was issued by '
            f'"{names.common_name(top.issuer)}", which is not in the full-chain file',
            "append the root to the full-chain file, or give the trust bundle",
        )
    levels: list[Level] = []
    for certificate in reversed(found.certificates):
        key = owners_key(certificate)
        signer = levels[0].as_signer() if levels else None
        levels.insert(0, Level(_role(certificate), Template.of(certificate), certificate, key, signer))
    levels[0] = replace(levels[0], role=Role.DEVICE_CA)
    return levels


def _role(certificate: x509.Certificate) -> Role:
    return Role.ROOT if is_signed_by(certificate, certificate) else Role.INTERMEDIATE
