"""Private keys that this process does not have: in a token, or with whoever owns the certificate.

Rule: such a key stands wherever a private key does, because signing is all that issuing asks of it (cryptography's
builders call `sign` of any RSAPrivateKey or EllipticCurvePrivateKey). What would need the key itself is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from certs.errors import CertsError
from certs.keys import PrivateKey
from certs.names import common_name

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
Data = bytes | bytearray | memoryview


class KeyNotHereError(CertsError):
    """Something needs a private key that is not in this process."""


class Holder(Protocol):
    """Who has the private key."""

    @property
    def name(self) -> str:
        """The key's name in an error."""
        ...

    @property
    def reference(self) -> dict[str, str] | None:
        """What finds the key again and is no secret; None when there is nothing to find."""
        ...

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        """Hash and sign: RSASSA-PKCS1-v1_5, or ECDSA in DER (RFC 3279, 2.2.3). Raises CertsError."""
        ...

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that says why `what` cannot be done."""
        ...


@dataclass(frozen=True)
class Owner:
    """Whoever owns a certificate whose key was never given to us."""

    name: str
    reference = None

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm) -> NoReturn:
        """Refuse: there is nothing to sign with."""
        self.refuse("sign")

    def refuse(self, what: str) -> NoReturn:
        """Say that the key is not here."""
        raise KeyNotHereError(
            f'"{self.name}" cannot {what}: its private key is not here',
            "only the device CA's key was given; a chain that leafgate makes has all of them",
        )


class KeyElsewhere:
    """What RSA and EC keys that are elsewhere have in common."""

    def __init__(self, public: PublicKey, holder: Holder) -> None:
        self._public = public
        self.holder = holder

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    @property
    def key_size(self) -> int:
        """Its length in bits."""
        return self._public.key_size

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the key never leaves its holder."""
        self.holder.refuse("be written down")

    def private_numbers(self) -> NoReturn:
        """Refuse: the key never leaves its holder."""
        self.holder.refuse("be read")

    def check(self) -> None:
        """Let the holder sign something, and see that it is this key that signed. Raises CertsError."""
        self._signed(b"leafgate asks whether this is the key", hashes.SHA256())

    def _signed(self, data: Data, algorithm: object) -> bytes:
        if not isinstance(algorithm, hashes.HashAlgorithm):
            raise UnsupportedAlgorithm("only what has not been hashed yet is signed")
        data = bytes(data)
        signature = self.holder.sign(data, algorithm)
        try:
            if isinstance(self._public, rsa.RSAPublicKey):
                self._public.verify(signature, data, padding.PKCS1v15(), algorithm)
            else:
                self._public.verify(signature, data, ec.ECDSA(algorithm))
        except InvalidSignature:
            raise CertsError(
                f"the key of {self.holder.name} is not the certificate's: its signature does not fit",
                "give the certificate that was issued for this key, or name the other key",
            ) from None
        return signature


class RsaElsewhere(KeyElsewhere, rsa.RSAPrivateKey):
    """An RSA key that is elsewhere."""

    def public_key(self) -> rsa.RSAPublicKey:
        """Return its public half."""
        assert isinstance(self._public, rsa.RSAPublicKey)
        return self._public

    def sign(self, data: Data, padding: object, algorithm: object) -> bytes:
        """Have it signed; PKCS #1 v1.5 is what IoT Edge's certificates are signed with."""
        if getattr(padding, "name", "") != "EMSA-PKCS1-v1_5":
            raise UnsupportedAlgorithm("only PKCS #1 v1.5")
        return self._signed(data, algorithm)

    def decrypt(self, ciphertext: bytes, padding: object) -> NoReturn:
        """Refuse: a CA's key signs."""
        self.holder.refuse("decrypt")


class EcElsewhere(KeyElsewhere, ec.EllipticCurvePrivateKey):
    """An EC key that is elsewhere."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return its public half."""
        assert isinstance(self._public, ec.EllipticCurvePublicKey)
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self.public_key().curve

    def sign(self, data: Data, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Have it signed; whether signatures repeat (RFC 6979) is up to the holder."""
        return self._signed(data, signature_algorithm.algorithm)

    def exchange(self, algorithm: object, peer_public_key: object) -> NoReturn:
        """Refuse: a CA's key signs."""
        self.holder.refuse("agree on secrets")


def key_elsewhere(public: object, holder: Holder) -> PrivateKey:
    """Return the private key of this public one, which `holder` has. Raises CertsError for other kinds than RSA, EC."""
    if isinstance(public, rsa.RSAPublicKey):
        return RsaElsewhere(public, holder)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return EcElsewhere(public, holder)
    raise CertsError(
        f"the key of {holder.name} is of a type that IoT Edge does not use ({type(public).__name__})", "RSA or EC"
    )


def owners_key(certificate: x509.Certificate) -> PrivateKey:
    """Return the key of a certificate that came without it: all but signing works."""
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        public = None
    return key_elsewhere(public, Owner(common_name(certificate.subject)))


def can_sign(key: PrivateKey) -> bool:
    """Tell whether a key is here or in a token, and not with the certificate's owner."""
    return not (isinstance(key, KeyElsewhere) and isinstance(key.holder, Owner))
