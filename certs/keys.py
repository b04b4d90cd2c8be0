"""Where private keys come from: fresh, out of a cache, or derived from a seed.

Rule: a key source is stateless. The same (kind, purpose) asked twice of a cache or of a seed gives the same key,
in whatever order and in whichever process, so that neither threads nor test workers can change a hierarchy.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.errors import CertsError, FileRefusedError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    # the order of each group (SEC 2), for deriving a private value from a seed
    "ec": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    "ec384": (
        ec.SECP384R1(),
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    "ec521": (
        ec.SECP521R1(),
        0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
    ),
    "secp256k1": (ec.SECP256K1(), 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
}
_RSA = re.compile(r"rsa([0-9]{4,5})")
#: what `--key` may say; there are other kinds: `secp256k1` is what ca-certs.ps1 makes of `ecc`, `rsa1024` is a defect,
#: and `ec521` and RSA of any length are found in the field
KINDS = ("ec", "ec384", "rsa2048", "rsa4096")
_SHORTEST, _LONGEST = 1024, 8192  # bits; OpenSSL makes no shorter ones, and longer ones take minutes
_LEAF_SLOTS = 16  # identity certificates share this many cached keys, so that a cache cannot grow without end


class KeySource(Protocol):
    """Gives a private key for a purpose such as "root" or "server"."""

    def key(self, kind: str, purpose: str) -> PrivateKey:
        """Return a key of that kind for that purpose."""
        ...


def generate(kind: str) -> PrivateKey:
    """Make a new key of that kind: one of KINDS, another curve known here, or rsa and a number of bits."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind][0])
    if (bits := _RSA.fullmatch(kind)) and _SHORTEST <= int(bits[1]) <= _LONGEST:
        return rsa.generate_private_key(public_exponent=65537, key_size=int(bits[1]))
    raise CertsError(f"key {kind!r} does not exist", f"one of {', '.join(KINDS)}")


def kind_of(key: PrivateKey | PublicKey) -> str:
    """Return the kind of an existing key, for making another one like it."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return f"rsa{key.key_size}"
    return next((kind for kind, (curve, _) in _CURVES.items() if curve.name == key.curve.name), key.curve.name)


class FreshKeys:
    """A new random key each time."""

    def key(self, kind: str, purpose: str) -> PrivateKey:
        """Return a new key; the purpose does not matter."""
        return generate(kind)


class CachedKeys:
    """Keys kept in a folder outside any repository, one per kind and purpose: for tests and demonstrations only.

    RSA keys cost up to seconds each; a cached one is read in a millisecond. Whoever shares a cache shares the keys.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = default_cache() if directory is None else Path(directory)

    def key(self, kind: str, purpose: str) -> PrivateKey:
        """Return the kept key, making it when it does not exist yet."""
        path = self.directory / f"{kind}-{_slot(purpose)}.key.pem"
        kept = _readable(path)
        return self._make(kind, path) if kept is None else kept

    def _make(self, kind: str, path: Path) -> PrivateKey:
        """Write a new key whole or not at all; of two processes that do so at once, both use the winner's."""
        key = generate(kind)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.directory)  # mkstemp's files are 0600
            with os.fdopen(handle, "wb") as file:
                file.write(key_pem(key))
            try:
                os.link(temporary, path)
            except FileExistsError:
                if (kept := _readable(path)) is not None:
                    return kept
                Path(temporary).replace(path)  # a cut-off file of an earlier crash
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise FileRefusedError(self.directory, f"the key cache cannot be written ({error.strerror})") from None
        return key


class SeededKeys:
    """EC keys derived from a seed, the same on every machine. RSA keys cannot be: they come out of a cache."""

    def __init__(self, seed: int, cache: KeySource | None = None) -> None:
        self.seed = seed
        self._cache = CachedKeys() if cache is None else cache

    def key(self, kind: str, purpose: str) -> PrivateKey:
        """Return the seed's key for that purpose."""
        if kind not in _CURVES:
            return self._cache.key(kind, purpose)
        curve, order = _CURVES[kind]
        return ec.derive_private_key(1 + digest(self.seed, f"key:{kind}:{purpose}") % (order - 1), curve)


def digest(seed: int, purpose: str) -> int:
    """Return 512 bits that follow from the seed and the purpose alone."""
    return int.from_bytes(hashlib.sha512(f"leafgate:{seed}:{purpose}".encode()).digest(), "big")


def default_cache() -> Path:
    """Return the folder of the key cache: below XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leafgate" / "keys"


def load_key(pem: bytes, password: bytes | None = None, *, own: bool = False) -> PrivateKey:
    """Read a PEM private key; ValueError when it is none of the kinds used here.

    `own` leaves out the primality tests, a quarter of a second for RSA 4096: for keys that this package wrote.
    """
    try:
        key = serialization.load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=own)
    except TypeError as error:  # cryptography's word for a password missing or superfluous
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"a key of type {type(key).__name__} is not used by IoT Edge")
    return key


def key_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """Return a key as PKCS #8 PEM, encrypted (AES-256) when a password is given."""
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def _readable(path: Path) -> PrivateKey | None:
    try:
        return load_key(path.read_bytes(), own=True)
    except (OSError, ValueError):
        return None


def _slot(purpose: str) -> str:
    """Return the file name part of a purpose; all identities ("leaf:...") share a few slots."""
    if purpose.startswith("leaf:"):
        return f"leaf-{int(hashlib.sha256(purpose.encode()).hexdigest(), 16) % _LEAF_SLOTS}"
    return re.sub(r"[^a-z0-9-]+", "-", purpose.lower())
