"""Keys in PKCS #11 tokens: an HSM, a TPM behind tpm2-pkcs11, or SoftHSM.

Rules: python-pkcs11 is imported here alone, and only once a token is used. Each signature is a session of its own, so
nothing has to be closed. python-pkcs11 initialises libraries for one thread, hence one lock for all tokens of the
process. A PIN that was refused is not tried again: tokens lock themselves.
Mechanisms are those IoT Edge asks of a token, CKM_ECDSA and CKM_RSA_PKCS (pkcs11/src in Azure/iot-identity-service).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from certs.elsewhere import KeyNotHereError, PublicKey, key_elsewhere
from certs.errors import CertsError
from certs.keys import PrivateKey
from certs.pkcs11uri import Uri
from certs.x509io import load_certificate

MODULE_VARIABLE = "LEAFGATE_PKCS11_MODULE"
PIN_VARIABLE = "LEAFGATE_PKCS11_PIN"
#: kinds that can be made in a token: RSA's length in bits, or the curve
_MAKES: dict[str, int | str] = {"ec": "secp256r1", "ec384": "secp384r1", "rsa2048": 2048, "rsa4096": 4096}
_SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"  # where Debian's package libsofthsm2 puts it
_CURVES = ("secp256r1", "secp384r1")

_lock = threading.Lock()


class TokenError(CertsError):
    """A token does not do what was asked. `reason` is python-pkcs11's name for it, such as "PinIncorrect"."""

    exit_code = 3

    def __init__(self, reason: str, message: str, hint: str) -> None:
        self.reason = reason
        super().__init__(message, hint)


_LOCKS = "many tokens lock themselves after three wrong PINs: be sure of the next one"
_GONE = ("{} is gone or does not answer", "put the token back, then start the gateway again")
#: what a token's refusal means; {} is the token
_REASONS: dict[str, tuple[str, str]] = {
    "PinIncorrect": ("the PIN of {} is wrong", _LOCKS),
    "PinInvalid": ("the PIN of {} is wrong", _LOCKS),
    "PinLenRange": ("the PIN of {} is wrong: too short or too long", _LOCKS),
    "PinLocked": ("the PIN of {} is locked, after too many wrong ones", "its security officer can unlock it"),
    "PinExpired": ("the PIN of {} has expired", "change it with the token's own tool"),
    "UserPinNotInitialized": ("{} has no user PIN yet", "initialise it with the token's own tool"),
    "UserNotLoggedIn": ("{} wants a PIN", f"set {PIN_VARIABLE}, or add ?pin-source=file:/... to the URI"),
    "MechanismInvalid": ("{} does not sign in the way that X.509 needs", "it must offer CKM_ECDSA or CKM_RSA_PKCS"),
    "KeyTypeInconsistent": ("{} does not sign with this kind of key", "use an RSA, P-256 or P-384 key"),
    "TokenWriteProtected": ("{} is write-protected", "make the key with the token's own tool"),
    **dict.fromkeys(
        ("DeviceRemoved", "DeviceError", "TokenNotPresent", "TokenNotRecognised", "SessionHandleInvalid",
         "SessionClosed", "SlotIDInvalid", "ObjectHandleInvalid", "KeyHandleInvalid",
         "GeneralError", "FunctionFailed"),  # these two are what SoftHSM says when a token's files are away
        _GONE,
    ),
}  # fmt: skip


@dataclass
class TokenKey:
    """Holds one private key of a token; `module` is the token's PKCS #11 library."""

    uri: Uri
    module: str
    _refused: TokenError | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The key's name in an error: its URI without the PIN."""
        return str(self.uri)

    @property
    def reference(self) -> dict[str, str]:
        """What finds the key again: its URI without the PIN, and the library."""
        return {"uri": str(self.uri), "module": self.module}

    def refuse(self, what: str) -> NoReturn:
        """Say that the key stays in the token."""
        raise KeyNotHereError(f"{self.name} cannot {what}: it never leaves its token", "it can only sign")

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        """Hash here and sign in the token. Raises TokenError."""
        hashed = hashes.Hash(algorithm)
        hashed.update(data)
        digest = hashed.finalize()
        with self._session() as session:
            key = self._private(session)
            if _is_ec(key):
                return _dss(key.sign(digest, mechanism=_names().Mechanism.ECDSA))
            return bytes(key.sign(_digest_info(digest, algorithm), mechanism=_names().Mechanism.RSA_PKCS))

    def public_key(self) -> PublicKey:
        """Read the public half, which the token keeps as a key or in a certificate. Raises TokenError."""
        with self._session() as session:
            public: PublicKey | None = _public(session, self._private(session))
        if public is None:
            raise TokenError(
                "NoSuchKey",
                f"{self.name} has no public half in its token",
                "keep the public key or the certificate there, with the same id or label",
            )
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name not in _CURVES:
            raise self._unsupported(public.curve.name)
        return public

    def generate(self, kind: str) -> None:
        """Make a key pair of that kind in the token, which cannot be taken out. Raises TokenError."""
        if self.uri.object is None:
            raise CertsError("the new key has no name", "add ;object=NAME to the URI")
        if kind not in _MAKES:
            raise CertsError(f"key {kind!r} does not exist", f"one of {', '.join(_MAKES)}")
        with self._session(writing=True) as session:
            if _privates(session, self.uri):
                raise TokenError(
                    "KeyExists",
                    f"{self.name} exists already",
                    "leave --generate out to use it, or choose another object",
                )
            _make(session, _MAKES[kind], self.uri.object, self.uri.id or os.urandom(8))

    # --- the token --------------------------------------------------------------------------------------------------

    @contextmanager
    def _session(self, *, writing: bool = False) -> Iterator[Any]:
        """Log in, and out again; what goes wrong in between is told in words."""
        pkcs11 = _names()
        with _lock:
            if self._refused:
                raise self._refused
            library = _library(self.module)
            try:
                session = self._login(self._token(library), writing=writing)
                try:
                    yield session
                finally:
                    session.close()
            except pkcs11.PKCS11Error as error:
                told = self._told(error)
                if (told.message, told.hint) == self._words(_GONE):
                    library.finalize()  # else a token that comes back stays unknown to it
                raise told from None

    def _token(self, library: Any) -> Any:
        there = [one for one in library.get_tokens() if _names().TokenFlag.TOKEN_INITIALIZED in one.flags]
        found = [one for one in there if _is_meant(one, self.uri)]
        if len(found) == 1:
            return found[0]
        hint = (
            f"there are {', '.join(map(_shown, there))}"
            if there
            else "it has none; SoftHSM's are where the file that SOFTHSM2_CONF names says"
        )
        if found:
            raise TokenError("MultipleTokensReturned", f"{len(found)} tokens of {self.module} fit {self.name}", hint)
        raise TokenError("NoSuchToken", f"no token of {self.module} fits {self.name}", hint)

    def _login(self, token: Any, *, writing: bool) -> Any:
        try:
            return token.open(rw=writing, user_pin=self._pin())
        except _names().UserAlreadyLoggedIn:  # somebody else in this process; a login counts for all sessions
            return token.open(rw=writing)

    def _pin(self) -> str | None:
        return self.uri.pin() or os.environ.get(PIN_VARIABLE) or None

    def _private(self, session: Any) -> Any:
        found = _privates(session, self.uri)
        if len(found) != 1:
            raise self._not_one(found, session)
        if found[0].key_type not in (_names().KeyType.EC, _names().KeyType.RSA):
            raise self._unsupported(found[0].key_type.name)
        return found[0]

    def _not_one(self, found: list[Any], session: Any) -> TokenError:
        if found:
            return TokenError(
                "MultipleObjectsReturned", f"{len(found)} private keys fit {self.name}", "add ;id=... to the URI"
            )
        labels = sorted({str(one.label) for one in _privates(session, Uri())})
        hint = f"the token has {', '.join(labels)}" if labels else "the token has none; --generate makes one"
        if not labels and self._pin() is None:
            hint = f"a token shows its keys only with its PIN: set {PIN_VARIABLE}"
        return TokenError("NoSuchKey", f"no private key fits {self.name}", hint)

    def _unsupported(self, kind: str) -> TokenError:
        return TokenError(
            "KeyTypeInconsistent", f"{self.name} is a key of type {kind}", "IoT Edge uses RSA, EC P-256 or P-384"
        )

    def _told(self, error: Exception) -> TokenError:
        reason = type(error).__name__
        unknown = (f"{{}} refused: {_of(error)}", "the token's own tool may tell more")
        told = TokenError(reason, *self._words(_REASONS.get(reason, unknown)))
        if reason.startswith("Pin"):
            self._refused = told
        return told

    def _words(self, words: tuple[str, str]) -> tuple[str, str]:
        return words[0].replace("{}", f"token {self.uri.token!r}" if self.uri.token else self.name), words[1]


def open_key(uri: Uri, module: str | None = None) -> PrivateKey:
    """Return a key of a token, for signing; its public half is read now. Raises CertsError."""
    holder = token_key(uri, module)
    return key_elsewhere(holder.public_key(), holder)


def token_key(uri: Uri, module: str | None = None) -> TokenKey:
    """Name a key of a token. The library is the URI's module-path, the given one, or LEAFGATE_PKCS11_MODULE's."""
    library = uri.module_path or module or os.environ.get(MODULE_VARIABLE)
    if not library:
        raise CertsError(
            f"{uri}: it is not said which PKCS #11 library speaks with the token",
            f"give --pkcs11-module or {MODULE_VARIABLE}; SoftHSM's is {_SOFTHSM}",
        )
    return TokenKey(uri, library)


# --- objects of a session -------------------------------------------------------------------------------------------


def _privates(session: Any, uri: Uri) -> list[Any]:
    names = _names()
    wanted = {names.Attribute.CLASS: names.ObjectClass.PRIVATE_KEY}
    if uri.object is not None:
        wanted[names.Attribute.LABEL] = uri.object
    if uri.id is not None:
        wanted[names.Attribute.ID] = uri.id
    return list(session.get_objects(wanted))


def _public(session: Any, private: Any) -> Any:
    """Find the public half by id, else by label: a public key, else a certificate."""
    names = _names()
    keys = {names.Attribute.ID: bytes(private.id or b""), names.Attribute.LABEL: private.label}
    for attribute, value in keys.items():
        for kind in (names.ObjectClass.PUBLIC_KEY, names.ObjectClass.CERTIFICATE) if value else ():
            for one in session.get_objects({names.Attribute.CLASS: kind, attribute: value}):
                return _read_public(one, kind is names.ObjectClass.PUBLIC_KEY)
    return None


def _read_public(found: Any, is_key: bool) -> Any:
    names = _names()
    if not is_key:
        return load_certificate(bytes(found[names.Attribute.VALUE])).public_key()
    if _is_ec(found):
        return serialization.load_der_public_key(names.ec.encode_ec_public_key(found))
    exponent, modulus = (
        int.from_bytes(found[one], "big") for one in (names.Attribute.PUBLIC_EXPONENT, names.Attribute.MODULUS)
    )
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _make(session: Any, size: int | str, label: str, identifier: bytes) -> None:
    names = _names()
    template = {names.Attribute.SENSITIVE: True, names.Attribute.EXTRACTABLE: False}
    options = {"store": True, "label": label, "id": identifier, "private_template": template}
    if isinstance(size, int):
        session.generate_keypair(names.KeyType.RSA, size, **options)
        return
    curve = {names.Attribute.EC_PARAMS: names.ec.encode_named_curve_parameters(size)}
    session.create_domain_parameters(names.KeyType.EC, curve, local=True).generate_keypair(**options)


def _is_meant(token: Any, uri: Uri) -> bool:
    is_ = {
        "token": token.label,
        "serial": token.serial.decode(errors="replace").strip("\0 "),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
        "slot_id": token.slot.slot_id,
    }
    return all(getattr(uri, name) in (None, value) for name, value in is_.items())


def _shown(token: Any) -> str:
    return f"{token.label!r} (serial {token.serial.decode(errors='replace').strip()})"


def _is_ec(key: Any) -> bool:
    return bool(key.key_type is _names().KeyType.EC)


def _dss(raw: bytes) -> bytes:
    """Return r and s, which a token puts side by side (PKCS #11, 2.3.1), in DER."""
    half = len(raw) // 2
    return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


#: DER of DigestInfo before the hash (RFC 8017, 9.2, note 1)
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
}


def _digest_info(digest: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    return _DIGEST_INFO[algorithm.name] + digest


def _library(module: str) -> Any:
    """Load a library, or take the loaded one. Raises TokenError."""
    pkcs11 = _names()
    try:
        return pkcs11.lib(str(Path(module).resolve()) if "/" in module else module)  # two spellings would be two
    except pkcs11.PKCS11Error as error:
        reason = type(error).__name__
        if reason == "PKCS11Error":
            why, hint = f"cannot be loaded: {_of(error).split(': ', 2)[-1]}", "SoftHSM's is " + _SOFTHSM
        else:
            why, hint = f"cannot be initialised ({reason})", "SoftHSM wants the file that SOFTHSM2_CONF names"
        raise TokenError(reason, f"PKCS #11 library {module} {why}", hint) from None


def _of(error: Exception) -> str:
    return str(error) or type(error).__name__


def _names() -> Any:
    """Import python-pkcs11."""
    try:
        import pkcs11  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise CertsError("python-pkcs11 is not installed", "pip install 'leafgate[hsm]'") from None
    return pkcs11
