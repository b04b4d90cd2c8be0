"""A hierarchy of certificates as a value: what exists, what is sent, and what a leaf should trust.

Rules: everything here is immutable, a change gives a new Chain. `levels` is the truth (server first, root last);
`sent` and `trust` are lists of certificates that may be wrong on purpose. Re-signing a level replaces its certificate
wherever the chain has it and touches nothing below, so changes can be combined in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from cryptography import x509

from certs import x509io
from certs.elsewhere import can_sign
from certs.errors import CertsError, NoSuchLevelError
from certs.keys import PrivateKey, key_pem
from certs.names import common_name
from certs.workshop import Workshop
from certs.x509io import ExtensionValue

#: in which UTCTime begins
FIRST_YEAR = 1950


class Role(StrEnum):
    """What a certificate is for."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"
    DEVICE_CA = "device-ca"
    WORKLOAD_CA = "workload-ca"
    SERVER = "server"
    DEVICE = "device"
    MODULE = "module"
    EDGE_IDENTITY = "edge-identity"
    VERIFICATION = "verification"


@dataclass(frozen=True)
class Template:
    """What a certificate says, before it is signed."""

    subject: x509.Name
    not_before: datetime
    not_after: datetime
    serial: int
    extensions: tuple[tuple[x509.ExtensionType, bool], ...]
    sha1: bool = False  # how it is signed; SHA-256 otherwise

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Template:
        """Read back what a certificate says."""
        return cls(
            certificate.subject,
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            x509io.serial_of(certificate),
            tuple((one.value, one.critical) for one in certificate.extensions),
        )

    def get(self, kind: type[ExtensionValue]) -> ExtensionValue | None:
        """Return the extension of that type."""
        return next((value for value, _ in self.extensions if isinstance(value, kind)), None)

    def without(self, *kinds: type[x509.ExtensionType]) -> Template:
        """Return the template without the extensions of those types."""
        return replace(self, extensions=tuple(pair for pair in self.extensions if not isinstance(pair[0], kinds)))

    def moved(self, span: timedelta) -> Template:
        """Return the template with its dates moved. Raises CertsError where certificates have none."""
        try:
            moved = replace(self, not_before=self.not_before + span, not_after=self.not_after + span)
        except OverflowError:
            moved = None
        if moved is None or moved.not_before.year < FIRST_YEAR:
            raise CertsError(
                f"certificates cannot be dated {span.days} days from now",
                f"they are from {FIRST_YEAR} to 9999 (RFC 5280, 4.1.2.5)",
            )
        return moved

    def with_extension(self, value: x509.ExtensionType, *, critical: bool = False) -> Template:
        """Return the template with this extension, in place of one of the same type."""
        kept = self.without(type(value)).extensions
        return replace(self, extensions=(*kept, (value, critical)))


@dataclass(frozen=True)
class Signer:
    """Who signs: the issuer's name and key."""

    name: x509.Name
    key: PrivateKey = field(repr=False)


@dataclass(frozen=True)
class Level:
    """One certificate of a hierarchy, its key and how it was made."""

    role: Role
    template: Template = field(repr=False)
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)
    signer: Signer | None = field(default=None, repr=False, compare=False)  # None: self-signed

    @classmethod
    def issue(cls, role: Role, template: Template, key: PrivateKey, signer: Signer | None = None) -> Level:
        """Sign a template for a key."""
        certificate = x509io.sign(
            subject=template.subject,
            public_key=key.public_key(),
            not_before=template.not_before,
            not_after=template.not_after,
            serial=template.serial,
            extensions=template.extensions,
            issuer=signer.name if signer else template.subject,
            issuer_key=signer.key if signer else key,
            sha1=template.sha1,
        )
        return cls(role, template, certificate, key, signer)

    def reissue(self, template: Template) -> Level:
        """Sign another template for the same key with the same signer."""
        return Level.issue(self.role, template, self.key, self.signer)

    @property
    def common_name(self) -> str:
        """The subject's common name."""
        return common_name(self.template.subject)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return x509io.to_pem([self.certificate])

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS #8 PEM, not encrypted."""
        return key_pem(self.key)

    def as_signer(self) -> Signer:
        """Return this level as the issuer of another."""
        return Signer(self.template.subject, self.key)


@dataclass(frozen=True)
class Chain:
    """What a gateway serves, with which key, and what its leaves should trust."""

    hostname: str
    generation: str
    levels: tuple[Level, ...]  # server first, root last: everything that exists
    sent: tuple[x509.Certificate, ...]  # what goes on the wire, exactly in this order
    trust: tuple[x509.Certificate, ...]  # what a correctly configured leaf trusts
    workshop: Workshop = field(default_factory=Workshop, repr=False, compare=False)

    @cached_property
    def sent_pem(self) -> bytes:
        """The certificates on the wire as PEM."""
        return x509io.to_pem(self.sent)

    @cached_property
    def trust_pem(self) -> bytes:
        """The certificates to trust as PEM."""
        return x509io.to_pem(self.trust)

    @property
    def key_pem(self) -> bytes:
        """The server's private key as PKCS #8 PEM, not encrypted."""
        return self.server.key_pem

    @property
    def server(self) -> Level:
        """The server certificate's level."""
        return self.levels[0]

    @property
    def root(self) -> Level:
        """The level at the top, whatever its role (a quickstart's device CA is its own root)."""
        return self.levels[-1]

    def has(self, role: Role) -> bool:
        """Tell whether the hierarchy has a certificate of that role."""
        return any(level.role is role for level in self.levels)

    def level(self, role: Role) -> Level:
        """Return the first level of that role, seen from the server; NoSuchLevelError when there is none."""
        for level in self.levels:
            if level.role is role:
                return level
        raise NoSuchLevelError(role, self.generation)

    def reissue(self, role: Role, change: Callable[[Template], Template]) -> Chain:
        """Sign the changed template of that role with the same keys; nothing below changes."""
        old = self.level(role)
        return self.swap(old, old.reissue(change(old.template)))

    def reissue_all(self, change: Callable[[Level], Template]) -> Chain:
        """Sign every level's changed template with the same keys."""
        chain = self
        for old in self.levels:
            chain = chain.swap(old, old.reissue(change(old)))
        return chain

    def shifted(self, seconds: float) -> Chain:
        """Return the chain with all its dates moved, and nothing else: for TLS stacks whose clock cannot be moved.

        To serve a chain that is 31 days older, shift it by -31 days. Raises CertsError for what has no key here.
        """
        span = timedelta(seconds=round(seconds))
        if not span:
            return self
        own = {level.certificate for level in self.levels if can_sign(level.key)}
        if not own.issuperset((*self.sent, *(level.certificate for level in self.levels))):
            raise CertsError(
                "the chain cannot be moved in time: it has a certificate that it does not have the key of",
                "let time pass with a chain of leafgate's own",
            )
        return self.reissue_all(lambda level: level.template.moved(span))

    def swap(self, old: Level, new: Level) -> Chain:
        """Put another level in a level's place, wherever the chain has it."""

        def put(certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
            return tuple(new.certificate if one == old.certificate else one for one in certificates)

        levels = tuple(new if level is old else level for level in self.levels)
        return replace(self, levels=levels, sent=put(self.sent), trust=put(self.trust))

    def without(self, role: Role) -> Chain:
        """Return the chain that does not send the certificate of that role."""
        gone = self.level(role).certificate
        return self.sending([certificate for certificate in self.sent if certificate != gone])

    def sending(self, certificates: Sequence[x509.Certificate]) -> Chain:
        """Return the chain that puts exactly these certificates on the wire."""
        return replace(self, sent=tuple(certificates))
