"""A token of SoftHSM in a folder of the tests' own."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
PIN, SO_PIN = "71-tests-71", "so-of-tests"


class SoftHsm:
    """SoftHSM's tokens; `module` is its library, `variables` what a process needs to find them."""

    def __init__(self, folder):
        self.module = next((one for one in MODULES if Path(one).exists()), None)
        if self.module is None or shutil.which("softhsm2-util") is None:
            pytest.skip("SoftHSM 2 is not installed (Debian: softhsm2)")
        pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (the extra hsm)")
        self.folder = folder / "tokens"
        self.folder.mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self.folder}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.variables = {"SOFTHSM2_CONF": str(configuration), "LEAFGATE_PKCS11_MODULE": self.module}

    def token(self, label):
        """Make a token; the folder it is in returns."""
        before = set(self.folder.iterdir())
        self.util("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)
        (made,) = set(self.folder.iterdir()) - before
        return made

    def put(self, label, name, pem_file):
        """Import a private key of a PKCS #8 file."""
        self.util("--import", pem_file, "--token", label, "--label", name, "--id", os.urandom(4).hex(), "--pin", PIN)

    def library(self):
        """SoftHSM's library for Python, in this process."""
        import pkcs11

        return pkcs11.lib(str(Path(self.module).resolve()))

    def util(self, *arguments):
        """Run softhsm2-util."""
        words = ["softhsm2-util", *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **self.variables})
        assert done.returncode == 0, done.stdout + done.stderr


def private_parts(key):
    """What would be secret of a private key in a file: its PEM's first line, and its secret number in bytes."""
    numbers = key.private_numbers()
    secret = numbers.d if hasattr(numbers, "d") else numbers.private_value
    raw = secret.to_bytes((secret.bit_length() + 7) // 8, "big")
    pem = re.sub(rb"-----[^-]+-----|\s", b"", _pem(key))
    return [raw, raw.hex().encode(), pem[40:80]]


def _pem(key):
    from certs.keys import key_pem

    return key_pem(key)
