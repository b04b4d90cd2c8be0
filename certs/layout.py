"""A whole Chain as a folder, kept between runs.

    DIRECTORY/chain/chain.json          what belongs to what
    DIRECTORY/chain/certs/0-server.cert.pem, 1-workload-ca.cert.pem, ...
    DIRECTORY/chain/private/0-server.key.pem, ...      0600 in a folder of 0700; none for a key that is elsewhere
    DIRECTORY/chain/sent.pem  trust.pem                what goes on the wire; what a leaf must trust

Rule: the folder appears whole or not at all (it is written beside its place and renamed).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

from cryptography import x509

from certs import files, x509io
from certs.chain import Chain, Level, Role, Signer, Template
from certs.elsewhere import KeyElsewhere, key_elsewhere, owners_key
from certs.errors import FileRefusedError
from certs.keys import PrivateKey
from certs.pkcs11 import token_key
from certs.pkcs11uri import parse
from certs.x509io import public_key_id

VERSION = 1
FOLDER = "chain"
TRUST_FILE = "trust.pem"
SENT_FILE = "sent.pem"


def exists(directory: Path) -> bool:
    """Tell whether a chain is saved in this folder."""
    return (directory / FOLDER).exists()


def trust_file(directory: Path) -> Path:
    """Return the file that a leaf must trust, of a chain saved in this folder."""
    return directory / FOLDER / TRUST_FILE


def save(chain: Chain, directory: Path, *, replace: bool = False) -> Path | None:
    """Save a chain. One that is already there is an error, or with `replace` moved aside: then its new path returns."""
    place = directory / FOLDER
    if place.exists() and not replace:
        raise FileRefusedError(place, "a chain is already saved there", "load it, or choose another folder")
    files.private_folder(directory)
    try:
        new = Path(tempfile.mkdtemp(dir=directory, prefix=".chain-"))  # mkdtemp's folders are 0700
    except OSError as error:
        raise files.refused(directory, error, "cannot be written") from None
    try:
        _write(chain, new)
        aside = files.move_aside(place) if place.exists() else None
        new.rename(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return aside


def load(directory: Path) -> Chain:
    """Read a saved chain back; whatever is missing, damaged or does not belong together is told."""
    place = directory / FOLDER
    description = _description(place / "chain.json")
    try:
        hostname, generation = str(description["hostname"]), str(description["generation"])
        roles = [Role(role) for role in description["levels"]]
    except (KeyError, TypeError, ValueError):
        raise _damaged(place / "chain.json") from None
    if not roles:
        raise _damaged(place / "chain.json")
    elsewhere = description.get("elsewhere", {})
    levels = [_read_level(place, f"{number}-{role}", role, elsewhere) for number, role in enumerate(roles)]
    sent, trust = (tuple(files.read_certificates(place / name)) for name in (SENT_FILE, TRUST_FILE))
    return Chain(hostname, generation, _signed(levels), sent, trust)


def _write(chain: Chain, folder: Path) -> None:
    certificates, keys = folder / "certs", files.private_folder(folder / "private")
    certificates.mkdir()
    elsewhere: dict[str, dict[str, str] | None] = {}  # where the keys are that we do not have; None: with their owners
    for number, level in enumerate(chain.levels):
        name = f"{number}-{level.role}"
        files.write_new(certificates / f"{name}.cert.pem", level.pem)
        if isinstance(level.key, KeyElsewhere):
            elsewhere[name] = level.key.holder.reference
        else:
            files.write_new(keys / f"{name}.key.pem", level.key_pem, private=True)
    files.write_new(folder / SENT_FILE, chain.sent_pem)
    files.write_new(folder / TRUST_FILE, chain.trust_pem)
    description = {
        "version": VERSION,
        "hostname": chain.hostname,
        "generation": chain.generation,
        "levels": [level.role for level in chain.levels],
        **({"elsewhere": elsewhere} if elsewhere else {}),
    }
    files.write_new(folder / "chain.json", json.dumps(description, indent=2).encode() + b"\n")


def _description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(files.read(path))
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(description, dict):
        raise _damaged(path)
    if description.get("version") != VERSION:
        raise FileRefusedError(
            path, f"format {description.get('version')!r} is not known here", f"this leafgate reads format {VERSION}"
        )
    return description


def _read_level(place: Path, name: str, role: Role, elsewhere: Mapping[str, Any]) -> Level:
    path = place / "certs" / f"{name}.cert.pem"
    certificate = files.read_certificates(path)[0]
    if name in elsewhere:
        key = _key_elsewhere(certificate, elsewhere[name], place / "chain.json")
    else:
        key = _read_key(place / "private" / f"{name}.key.pem", certificate, path)
    return Level(role, Template.of(certificate), certificate, key)


def _read_key(path: Path, certificate: x509.Certificate, certificate_path: Path) -> PrivateKey:
    key = files.read_own_key(path)
    if x509io.key_id(key) != public_key_id(certificate):
        raise FileRefusedError(
            path, f"it is not the key of {certificate_path.name}", "restore the folder, or start with an empty one"
        )
    return key


def _key_elsewhere(certificate: x509.Certificate, reference: object, path: Path) -> PrivateKey:
    """Name a key again; whether its token is there shows once it has to sign."""
    match reference:
        case None:
            return owners_key(certificate)
        case {"uri": str(uri), "module": str(module)}:
            return key_elsewhere(certificate.public_key(), token_key(parse(uri), module))
    raise _damaged(path)


def _signed(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Find who signed each level: the one whose key made the signature, else the one of the issuer's name."""
    return tuple(replaced(one, signer=_signer(one, levels)) for one in levels)


def _signer(level: Level, levels: Sequence[Level]) -> Signer | None:
    certificate = level.certificate
    if x509io.is_signed_by(certificate, certificate):
        return None
    named = [level for level in levels if level.certificate.subject == certificate.issuer]
    if not named and isinstance(level.key, KeyElsewhere):
        return None  # nobody here signs it again
    if not named:
        raise FileRefusedError(
            certificate.subject.rfc4514_string(),
            "the saved chain does not have its issuer",
            "restore the folder, or start with an empty one",
        )
    signed = [level for level in named if x509io.is_signed_by(certificate, level.certificate)]
    return (signed or named)[0].as_signer()


def _damaged(path: Path) -> FileRefusedError:
    return FileRefusedError(path, "not what leafgate wrote", "restore the folder, or start with an empty one")
