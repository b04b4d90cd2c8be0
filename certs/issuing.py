"""From a row of the profile table to one signed certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from cryptography import x509

from certs import extensions, names
from certs.chain import Level, Role, Template
from certs.keys import PrivateKey
from certs.profiles import CertProfile


def issue(
    profile: CertProfile,
    *,
    values: Mapping[str, str],
    key: PrivateKey,
    serial: int,
    now: datetime,
    issuer: Level | None,
    subject: x509.Name | None = None,
    ip_san: Sequence[str] = (),
    days: int | None = None,
    role: Role | None = None,
) -> Level:
    """Issue a certificate of this profile below `issuer`, or self-signed; `subject`, `days` and `role` override it."""
    if subject is None:
        inherit = issuer.template.subject if issuer and profile.inherits_rdns else None
        subject = names.name(profile.subject.format_map(values), inherit)
    found = extensions.build(
        profile,
        values=values,
        key=key,
        issuer=issuer.certificate if issuer else None,
        own=(subject, serial),
        ip_san=ip_san if profile.role is Role.SERVER else (),
    )
    template = Template(subject, now, _not_after(days or profile.days, now, issuer), serial, found)
    return Level.issue(role or profile.role, template, key, issuer.as_signer() if issuer else None)


def _not_after(days: int | None, now: datetime, issuer: Level | None) -> datetime:
    """Return the end of validity, never after the issuer's: edge_pki_openssl.c and aziot-certd both see to that."""
    own = [] if days is None else [now + timedelta(days=days)]
    return min(own + ([issuer.template.not_after] if issuer else []))
