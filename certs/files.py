"""Reading and writing files with certificates and keys.

Rule: a private key exists on disk only as 0600 in a folder of 0700, from its first byte on; nothing is overwritten,
what is in the way is moved aside under a name that is told.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509

from certs.errors import FileRefusedError
from certs.keys import PrivateKey, load_key
from certs.x509io import load_certificates

_DER_SEQUENCE = b"\x30\x82"  # how a certificate of more than 255 bytes begins in DER (X.690, 8.1.3.5)


def private_folder(path: Path) -> Path:
    """Make a folder (and its parents) that only its owner can enter; an existing one stays as it is."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise refused(path, error, "cannot be made a folder") from None
    return path


def write_new(path: Path, data: bytes, *, private: bool = False) -> Path:
    """Write a file that must not exist yet."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        raise refused(path, error, "cannot be written") from None
    return path


def write_whole(path: Path, data: bytes, *, private: bool = False) -> Path:
    """Put a file in place of an earlier one, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(temporary, data, private=private)
    temporary.replace(path)
    return path


def read(path: Path) -> bytes:
    """Read a file, with a clear error where that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise refused(path, error, "cannot be read") from None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM file; one that has none is an error."""
    content = read(path)
    try:
        found = load_certificates(content)
    except ValueError:
        raise FileRefusedError(path, "a certificate in it is damaged", "copy or make the file again") from None
    if not found:
        raise FileRefusedError(path, *_in_place_of_certificates(content))
    return found


def _in_place_of_certificates(content: bytes) -> tuple[str, str]:
    """Say what is there instead, and what to do."""
    if b"PRIVATE KEY-----" in content:
        return "it has a private key and no certificate", "give the file with the certificate"
    if content.startswith(_DER_SEQUENCE):
        return "it is DER, not PEM", "openssl x509 -inform der -in FILE -out FILE.pem"
    return "no certificate in it", "it must be PEM: -----BEGIN CERTIFICATE-----"


def read_own_key(path: Path) -> PrivateKey:
    """Read a private key file that this package wrote."""
    return read_key(path, own=True)


def read_key(path: Path, *, own: bool = False) -> PrivateKey:
    """Read a private key file; `own` as for `load_key`."""
    try:
        return load_key(read(path), own=own)
    except ValueError:
        raise FileRefusedError(
            path, "not a private key that can be read", "PEM, RSA or EC; is the password right?"
        ) from None


def move_aside(path: Path) -> Path:
    """Rename what is at `path` to the first free `<name>.old-N` and return that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise refused(path, error, "cannot be moved aside") from None
    return aside


def refused(path: Path, error: OSError, what: str) -> FileRefusedError:
    """Say what the operating system refused."""
    return FileRefusedError(
        path, f"{what} ({(error.strerror or str(error)).lower()})", "check the path and its permissions"
    )
