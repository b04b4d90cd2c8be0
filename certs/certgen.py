"""The working folder of the convenience scripts: certs/ private/ csr/ newcerts/ index.txt serial, file by file.

Rules: what the scripts wipe is moved aside and told; keys are 0600 (the scripts leave some readable to all); a new
root and intermediate appear together, after both are made.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12

from certs import files, path
from certs.chain import Level, Role, Template
from certs.elsewhere import KeyElsewhere
from certs.errors import CertsError, FileRefusedError, NameRefusedError
from certs.issuers import Issuer
from certs.issuing import issue
from certs.keys import FreshKeys, KeySource, PrivateKey, key_pem, kind_of, load_key
from certs.names import name as subject_name
from certs.profiles import SCRIPT_FIRST_SERIAL, SCRIPT_INTERMEDIATE_CA, SCRIPT_ROOT_CA
from certs.scripts import ALGORITHMS, BASH, INTERMEDIATE, PRODUCTS, ROOT, Dialect
from certs.workshop import Workshop
from certs.x509io import PEM, key_id, public_key_id, to_pem

_FOLDERS = ("certs", "private", "csr", "newcerts", "intermediateCerts")
_FILES = ("index.txt", "index.txt.attr", "serial", "algorithmUsed.txt")
_INTERMEDIATE_PASSWORD = "1234"  # noqa: S105 - the scripts' own, published
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f]+\Z")


class WorkingFolder:
    """One folder in which the convenience scripts' commands work.

    `say` gets progress and warnings for a person. Settings are the scripts': DEFAULT_VALIDITY_DAYS, ROOT_CA_PASSWORD.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keys: KeySource | None = None,
        now: datetime | None = None,
        say: Callable[[str], None] = lambda text: None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._keys = keys or FreshKeys()
        self._now = Workshop(fixed_now=now).now()
        self._say = say
        settings = os.environ if environment is None else environment
        self._days = _days(settings.get("DEFAULT_VALIDITY_DAYS", "30"))
        self._root_password = (settings.get("ROOT_CA_PASSWORD") or "1234").encode()

    def create_root_and_intermediate(self, dialect: Dialect = BASH, algorithm: str | None = None) -> list[Path]:
        """Make a new root and intermediate; what was in the folder before is moved aside."""
        chosen = dialect.algorithm if algorithm is None else algorithm
        kind = _algorithm(chosen)[0]
        self._say(f"making the root CA's {kind} key")
        key = self._keys.key(kind, "script-root")
        serial = x509.random_serial_number()
        root = issue(
            SCRIPT_ROOT_CA, values={}, key=key, serial=serial, now=self._now, issuer=None,
            subject=subject_name(dialect.root_cn), days=self._days,
        )  # fmt: skip
        return self._start(root, key_pem(key, self._root_password), dialect, chosen)

    def install_root(self, certificate: Path, key_file: Path, dialect: Dialect = BASH) -> list[Path]:
        """Take somebody's root from files and make a new intermediate below it."""
        found, key = files.read_certificates(certificate)[0], self._read_key(key_file, self._root_password, own=False)
        if key_id(key) != public_key_id(found):
            raise FileRefusedError(key_file, f"it is not the key of {certificate}", "give the root's own key")
        if not path.is_ca(found):
            raise FileRefusedError(certificate, "it is no CA certificate", "it must say CA:TRUE")
        root = Level(Role.ROOT, Template.of(found), found, key)
        return self._start(root, files.read(key_file), dialect, dialect.algorithm)

    def create(
        self, command: str, name: str = "", key: PrivateKey | None = None, *, issuer: Issuer | None = None
    ) -> list[Path]:
        """Run one of the scripts' create_... commands for a name; returns the files it wrote.

        `key` is one that exists already; where it is elsewhere (in a token), there is no key file and no PFX. `issuer`
        signs in place of the script's; a folder without root and intermediate will do then.
        """
        product = PRODUCTS[command]
        prefix = product.prefix.format(_file_name(name)) if "{}" in product.prefix else product.prefix
        if issuer is None:
            signer = self._issuer(product.signed_by, product.profile.role)
            upper = files.read_certificates(self._full_chain(product.signed_by))
        else:
            signer, upper = issuer.level, list(issuer.chain)
            self._refuse_expired(signer)
            self._take_in(signer.key)
        kinds = _algorithm(self._remembered_algorithm())
        key = key or self._keys.key(kinds[0] if product.profile.ca else kinds[1], f"leaf:{prefix}")
        level = issue(
            product.profile, values={}, key=key, serial=self._next_serial(), now=self._now, issuer=signer,
            subject=subject_name(name + product.suffix), days=self._days, role=product.role,
        )  # fmt: skip
        pem_key = None if isinstance(key, KeyElsewhere) else key_pem(key)
        return self._write(self.folder, prefix, level, pem_key, upper, pfx_password=None)

    # --- root and intermediate --------------------------------------------------------------------------------------

    def _start(self, root: Level, root_key_pem: bytes, dialect: Dialect, algorithm: str) -> list[Path]:
        """Write a new folder beside its place, then move the old state aside and the new one in."""
        kind = _algorithm(algorithm)[0]
        self._say(f"making the intermediate CA's {kind} key")
        key = self._keys.key(kind, "script-intermediate")
        intermediate = issue(
            SCRIPT_INTERMEDIATE_CA, values={}, key=key, serial=SCRIPT_FIRST_SERIAL, now=self._now, issuer=root,
            subject=subject_name(dialect.intermediate_cn), days=self._days,
        )  # fmt: skip
        self._refuse_expired(root)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as temporary:
            new = Path(temporary)
            self._prepare(new, algorithm)
            files.write_new(new / "private" / f"{ROOT}.key.pem", root_key_pem, private=True)
            files.write_new(new / "certs" / f"{ROOT}.cert.pem", root.pem)
            password = _INTERMEDIATE_PASSWORD.encode()
            written = self._write(
                new, INTERMEDIATE, intermediate, key_pem(key, password), [root.certificate], pfx_password=password
            )
            self._move_old_state_aside()
            for item in sorted(new.iterdir()):
                item.rename(self.folder / item.name)
        made = [Path("certs") / f"{ROOT}.cert.pem", Path("private") / f"{ROOT}.key.pem"]
        return [self.folder / one for one in [*made, *(file.relative_to(new) for file in written)]]

    def _take_in(self, like: PrivateKey) -> None:
        """Let this be a folder in which certificates can be made; keys will be like the issuer's."""
        if not (self.folder / "serial").exists():
            files.private_folder(self.folder)
            self._prepare(self.folder, kind_of(like) if kind_of(like) in ALGORITHMS else "rsa2048")

    def _prepare(self, new: Path, algorithm: str) -> None:
        for folder in _FOLDERS:
            (new / folder).mkdir(mode=0o700 if folder == "private" else 0o755)
        files.write_new(new / "index.txt", b"")
        files.write_new(new / "index.txt.attr", b"unique_subject = no\n")
        files.write_new(new / "serial", f"{SCRIPT_FIRST_SERIAL:X}\n".encode())
        if algorithm:
            files.write_new(new / "algorithmUsed.txt", algorithm.encode())

    def _move_old_state_aside(self) -> None:
        old = [self.folder / name for name in (*_FOLDERS, *_FILES) if (self.folder / name).exists()]
        if not old:
            return
        number = 1
        while (aside := self.folder / f"old-{number}").exists():
            number += 1
        aside.mkdir(mode=0o700)
        for item in old:
            item.rename(aside / item.name)
        self._say(f"the earlier certificates and keys were moved to {aside}")

    # --- one certificate --------------------------------------------------------------------------------------------

    def _write(
        self,
        folder: Path,
        prefix: str,
        level: Level,
        pem_key: bytes | None,
        upper: Sequence[x509.Certificate],
        *,
        pfx_password: bytes | None,
    ) -> list[Path]:
        """Write all files of one certificate: key, request, certificate, full chain (root included), PFX; enter it."""
        pfx = _pfx(prefix, level, upper, pfx_password) if pem_key else None
        request = x509.CertificateSigningRequestBuilder(level.template.subject).sign(level.key, hashes.SHA256())
        contents = {
            f"private/{prefix}.key.pem": pem_key,
            f"csr/{prefix}.csr.pem": request.public_bytes(PEM),
            f"certs/{prefix}.cert.pem": level.pem,
            f"certs/{prefix}-full-chain.cert.pem": level.pem + to_pem(upper),
            f"certs/{prefix}.cert.pfx": pfx,
        }
        for name, data in contents.items():
            target = folder / name
            if target.exists():
                self._say(f"the earlier {name} was moved to {files.move_aside(target).name}")
            if data is not None:
                files.write_new(target, data, private=name.endswith((".key.pem", ".pfx")))
        self._enter(folder, level)
        return [folder / name for name, data in contents.items() if data is not None]

    def _enter(self, folder: Path, level: Level) -> None:
        """Enter a certificate into what `openssl ca` keeps: newcerts, index.txt, serial."""
        serial = f"{level.template.serial:X}"
        files.write_new(folder / "newcerts" / f"{serial}.pem", level.pem)
        line = f"V\t{level.template.not_after:%y%m%d%H%M%SZ}\t\t{serial}\tunknown\t/CN={level.common_name}\n"
        files.write_whole(folder / "index.txt", files.read(folder / "index.txt") + line.encode())
        files.write_whole(folder / "serial", f"{level.template.serial + 1:X}\n".encode())

    def _next_serial(self) -> int:
        file = self.folder / "serial"
        try:
            return int(files.read(file), 16)
        except ValueError:
            raise FileRefusedError(file, "no hexadecimal number in it", "restore it, or begin again") from None

    def _issuer(self, prefix: str, for_role: Role) -> Level:
        """Read root or intermediate, with its key."""
        certificate_file = self.folder / "certs" / f"{prefix}.cert.pem"
        if not certificate_file.exists():
            raise CertsError(
                f"{self.folder} has no root and intermediate yet", "run create_root_and_intermediate there first"
            )
        certificate = files.read_certificates(certificate_file)[0]
        password = self._root_password if prefix == ROOT else _INTERMEDIATE_PASSWORD.encode()
        key = self._read_key(self.folder / "private" / f"{prefix}.key.pem", password, own=True)
        role = Role.ROOT if prefix == ROOT else Role.INTERMEDIATE
        level = Level(role, Template.of(certificate), certificate, key)
        self._refuse_expired(level)
        return level

    def _refuse_expired(self, issuer: Level) -> None:
        if issuer.template.not_after <= self._now:
            raise CertsError(
                f'"{issuer.common_name}" expired on {issuer.template.not_after:%Y-%m-%d}',
                "begin again with create_root_and_intermediate; DEFAULT_VALIDITY_DAYS sets how long they live",
            )

    def _read_key(self, file: Path, password: bytes, *, own: bool) -> PrivateKey:
        """Read a key, encrypted with that password or not at all."""
        data = files.read(file)
        for attempt in (password, None):
            try:
                return load_key(data, attempt, own=own)
            except ValueError:
                continue
        raise FileRefusedError(file, "its password is not the one expected", "set ROOT_CA_PASSWORD") from None

    def _full_chain(self, prefix: str) -> Path:
        return self.folder / "certs" / (f"{prefix}.cert.pem" if prefix == ROOT else f"{prefix}-full-chain.cert.pem")

    def _remembered_algorithm(self) -> str:
        file = self.folder / "algorithmUsed.txt"
        return files.read(file).decode(errors="replace").strip() if file.exists() else ""


def _pfx(prefix: str, level: Level, upper: Sequence[x509.Certificate], password: bytes | None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(prefix.encode(), level.key, level.certificate, upper, protection)


def _algorithm(word: str) -> tuple[str, str]:
    """Return the kinds of keys for authorities and for the rest."""
    if word not in ALGORITHMS:
        raise CertsError(f"algorithm {word!r} does not exist", f"one of {', '.join(filter(None, ALGORITHMS))}")
    return ALGORITHMS[word]


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 36500:
        raise CertsError(f"DEFAULT_VALIDITY_DAYS is {text!r}", "write a number of days from 1 to 36500")
    return int(text)


def _file_name(name: str) -> str:
    if not _FILE_NAME.match(name) or name.startswith("."):
        raise NameRefusedError(
            name, "the name becomes part of file names", "leave out / and \\, and a dot at the start"
        )
    return name
