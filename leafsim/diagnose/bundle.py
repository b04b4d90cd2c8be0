"""What a diagnosis saw, in one file: enough to rebuild the failure elsewhere, and nothing secret.

    manifest.json   format, time, TLS versions
    chain.pem       the served certificates, in their order
    trust.pem       what the leaf trusts, when that is known
    report.json     what `--json` prints

Rule: public certificates and the report only; neither a key, a token nor a connection string can get in.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from certs import files, x509io
from certs.errors import FileRefusedError
from leafsim.diagnose.examine import Examination
from leafsim.diagnose.report import Report

VERSION = 1
MOST_BYTES = 4 << 20  # of one file in it: a system's whole trust store has a quarter of a megabyte
MANIFEST, CHAIN, TRUST, REPORT = "manifest.json", "chain.pem", "trust.pem", "report.json"


class Manifest(BaseModel):
    """When it was seen, and what of the TLS server is no certificate."""

    version: int = VERSION
    captured: AwareDatetime
    tls: list[Annotated[str, Field(pattern=r"^1\.[0-3]$")]] = Field(default=[], description="versions it speaks")


@dataclass(frozen=True)
class Bundle:
    """What was seen, read back."""

    captured: datetime
    tls: tuple[str, ...]
    served: tuple[x509.Certificate, ...]
    trusted: tuple[x509.Certificate, ...] | None
    report: Report


def save(path: Path, seen: Examination, *, captured: datetime, tls: tuple[str, ...] = ()) -> Path | None:
    """Write a bundle, whole or not at all; what was there before is moved aside, and its new path returned."""
    if not seen.served:
        raise FileRefusedError(path, "there is nothing to save: no certificate was shown", "see the diagnosis")
    manifest = Manifest(captured=captured, tls=list(tls))
    content = {MANIFEST: manifest.model_dump_json(indent=1).encode(), CHAIN: x509io.to_pem(seen.served)}
    if seen.trusted is not None:
        content[TRUST] = x509io.to_pem(seen.trusted)
    content[REPORT] = json.dumps(seen.report.as_json(), indent=1, ensure_ascii=False).encode()
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, captured.astimezone(UTC).timetuple()[:6])
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    aside = files.move_aside(path) if os.path.lexists(path) else None
    files.write_new(path, written.getvalue())
    return aside


def is_bundle(path: Path) -> bool:
    """Tell a bundle from a PEM file. Raises CertsError when the file cannot be read."""
    return files.read(path).startswith(b"PK")


def load(path: Path) -> Bundle:
    """Read a bundle back. Raises CertsError, which says what is wrong with it."""
    try:
        with zipfile.ZipFile(BytesIO(files.read(path))) as archive:
            manifest = _manifest(archive, path)
            served = _certificates(archive, CHAIN, path)
            trusted = _certificates(archive, TRUST, path) if TRUST in archive.namelist() else None
            report = Report.model_validate(_json(archive, REPORT, path))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        raise _damaged(path, "it is no zip file that can be read") from None  # RuntimeError: it wants a password
    except ValidationError as wrong:
        where = ".".join(map(str, wrong.errors()[0]["loc"]))
        raise _damaged(path, f"{REPORT} is not a report: {where}") from None
    return Bundle(manifest.captured, tuple(manifest.tls), served, trusted, report)


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    content = _json(archive, MANIFEST, path)
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise FileRefusedError(path, f"format {version!r} is not known here", f"this leafgate reads format {VERSION}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as wrong:
        where = ".".join(map(str, wrong.errors()[0]["loc"]))
        raise _damaged(path, f"{MANIFEST} is wrong at {where}") from None


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        return json.loads(_content(archive, name, path))
    except (ValueError, RecursionError):
        raise _damaged(path, f"{name} is no JSON") from None


def _certificates(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[x509.Certificate, ...]:
    try:
        found = tuple(x509io.load_certificates(_content(archive, name, path)))
    except ValueError:
        raise _damaged(path, f"a certificate in {name} is damaged") from None
    if not found:
        raise _damaged(path, f"{name} has no certificate")
    return found


def _content(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """One file of the archive, never more of it than is sensible, whatever its header says."""
    try:
        with archive.open(name) as file:
            content = file.read(MOST_BYTES + 1)
    except KeyError:
        raise _damaged(path, f"it has no {name}") from None
    if len(content) > MOST_BYTES:
        raise _damaged(path, f"{name} is larger than {MOST_BYTES >> 20} MiB")
    return content


def _damaged(path: Path, why: str) -> FileRefusedError:
    return FileRefusedError(path, why, "make it again: leafgate diagnose HOST:8883 --trust root.pem --save FILE")
