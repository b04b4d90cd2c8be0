"""Files that people configure, read with the expectation that they are wrong.

Rule: whatever the file is, the answer is a value with a sentence: no exception, no endless read, no secret in it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from certs import load_certificate, load_certificates
from certs.keys import PrivateKey, load_key

#: certificates of one file that are looked at; a machine's whole store has about 150
MOST = 1000
_LARGEST = 16 * 1024 * 1024  # bytes
_PEM = "it must be PEM, -----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Certificates:
    """What a certificate file holds; `wrong` says what is the matter with it."""

    certificates: tuple[x509.Certificate, ...] = ()
    wrong: str = ""


@dataclass(frozen=True)
class Key:
    """What a key file holds; `wrong` says what is the matter with it, `open_to` who else may read it."""

    key: PrivateKey | None = field(default=None, repr=False)
    wrong: str = ""
    open_to: str = ""


class Unreadable(Exception):
    """The file cannot be read; the text says why."""


def read_certificates(path: Path) -> Certificates:
    """Read a file of PEM certificates."""
    try:
        data = _read(path)
    except Unreadable as why:
        return Certificates(wrong=str(why))
    try:
        found = tuple(load_certificates(data))
    except ValueError:
        return Certificates(wrong="a certificate in it is damaged")
    return Certificates(found) if found else Certificates(wrong=_what_else(data))


def read_key(path: Path) -> Key:
    """Read a file with one unencrypted private key."""
    try:
        data = _read(path)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (Unreadable, OSError) as why:
        return Key(wrong=str(why))
    open_to = "everybody" if mode & stat.S_IROTH else ""
    try:
        return Key(load_key(data), open_to=open_to)
    except ValueError:
        return Key(wrong=_no_key(data), open_to=open_to)


def _read(path: Path) -> bytes:
    """Read a regular file of a sensible size: a pipe would never end."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("it is no file")
        if about.st_size > _LARGEST:
            raise Unreadable(f"it has {about.st_size} bytes, too many for certificates")
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("it does not exist") from None
    except PermissionError:
        raise Unreadable("it may not be read (permission denied)") from None
    except (OSError, ValueError) as why:
        words = why.strerror if isinstance(why, OSError) else None
        raise Unreadable(f"it cannot be read ({(words or str(why)).lower()})") from None


def _what_else(data: bytes) -> str:
    """Say what a file without PEM certificates is."""
    if b"PRIVATE KEY-----" in data:
        return "it holds a private key and no certificate; were the two files swapped?"
    if b"CERTIFICATE REQUEST-----" in data:
        return "it holds a certificate request, not the certificate that was made from it"
    if not data.strip():
        return "it is empty"
    try:
        load_certificate(data)
    except ValueError:
        return f"no certificate in it; {_PEM}"
    return f"it is DER; {_PEM} (openssl x509 -inform der)"


def _no_key(data: bytes) -> str:
    """Say what a file without a usable key is."""
    if b"ENCRYPTED" in data:
        return "the key in it is encrypted; the daemon asks for no password, so it must be plain"
    if b"PRIVATE KEY-----" in data:
        return "the key in it is damaged or of a kind that IoT Edge does not use"
    if b"BEGIN CERTIFICATE-----" in data:
        return "it holds a certificate and no private key; were the two files swapped?"
    return "it is empty" if not data.strip() else "no private key in it; it must be PEM, -----BEGIN PRIVATE KEY-----"
