"""From a row of the profile table to the extensions of one certificate."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from cryptography import x509

from certs.keys import PrivateKey
from certs.names import is_ip
from certs.profiles import CertProfile, Ids
from certs.x509io import extension, serial_of

_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def build(
    profile: CertProfile,
    *,
    values: Mapping[str, str],
    key: PrivateKey,
    issuer: x509.Certificate | None,
    own: tuple[x509.Name, int],
    ip_san: Sequence[str] = (),
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """Return the extensions a profile asks for; `own` is subject and serial, for a self-signed one's own AKI."""
    found: list[tuple[x509.ExtensionType, bool]] = []
    if profile.ca is not None:
        found.append((x509.BasicConstraints(profile.ca, profile.path_length), profile.ca_critical))
    found.extend((x509.UnrecognizedExtension(oid, value), False) for oid, value in profile.netscape)
    if profile.key_usage:
        found.append((key_usage(profile.key_usage), True))
    if profile.extended_key_usage:
        found.append((x509.ExtendedKeyUsage(profile.extended_key_usage), False))
    names = _alternative_names(profile, values) + [x509.IPAddress(ipaddress.ip_address(one)) for one in ip_san]
    if names:
        found.append((x509.SubjectAlternativeName(names), False))
    found.extend((one, False) for one in _identifiers(profile.ids, key, issuer, own))
    return tuple(found)


def key_usage(names: Sequence[str]) -> x509.KeyUsage:
    """Return a keyUsage extension that allows exactly these."""
    return x509.KeyUsage(**{usage: usage in names for usage in _USAGES})


def _alternative_names(profile: CertProfile, values: Mapping[str, str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for text in (entry.format_map(values) for entry in profile.san):
        if is_ip(text) and not profile.ips_as_dns:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        else:
            names.append(x509.DNSName(text))
    return names


def _identifiers(
    ids: Ids, key: PrivateKey, issuer: x509.Certificate | None, own: tuple[x509.Name, int]
) -> list[x509.ExtensionType]:
    """Return SKI and AKI. Without a key id in the issuer, aziot-certd leaves the AKI out and OpenSSL the key id."""
    if ids is Ids.NONE:
        return []
    subject_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    key_id = subject_id.digest if issuer is None else key_id_of(issuer)
    if ids is Ids.KEY_ID:
        return [subject_id, *([] if key_id is None else [x509.AuthorityKeyIdentifier(key_id, None, None)])]
    # the issuer's issuer and serial name the issuer's certificate; a root is its own issuer
    name, serial = own if issuer is None else (issuer.issuer, serial_of(issuer))
    return [subject_id, x509.AuthorityKeyIdentifier(key_id, [x509.DirectoryName(name)], serial)]


def key_id_of(certificate: x509.Certificate) -> bytes | None:
    """Return the certificate's subject key identifier."""
    found = extension(certificate, x509.SubjectKeyIdentifier)
    return found.digest if found else None
