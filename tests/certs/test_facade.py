"""The package's public names."""

import subprocess
import sys

import certs


def test_every_public_name_can_be_imported():
    """What __all__ promises is there, and what it does not promise is an AttributeError."""
    assert set(certs.__all__) == set(certs._HOME_OF)
    assert all(getattr(certs, name) is not None for name in certs.__all__)
    assert not hasattr(certs, "no_such_name")


def test_importing_the_command_line_loads_no_cryptography():
    """`leafgate --help` imports certs.cli, which must not cost the time of cryptography and OpenSSL."""
    code = "import sys, certs.cli; print([name for name in ('cryptography', 'OpenSSL') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
