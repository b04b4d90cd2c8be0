"""The public names, and what they cost."""

import subprocess
import sys

import pytest

import leafsim


@pytest.mark.parametrize("name", leafsim.__all__)
def test_public_name_is_there(name):
    """Each name of __all__ is found, and is the one of its home module."""
    assert getattr(leafsim, name) is getattr(sys.modules[f"leafsim.{leafsim._HOME_OF[name]}"], name)


def test_unknown_name():
    """Another name is an AttributeError that names it."""
    with pytest.raises(AttributeError, match="Levf"):
        _ = leafsim.Levf


def test_command_line_is_light():
    """Importing the commands loads neither paho nor ssl nor a gateway: `--help` answers at once."""
    heavy = ("paho", "ssl", "certs", "gateway", "asyncio")
    program = f"import sys, leafsim.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_gateway_is_imported():
    """Everything of leafsim together imports no gateway: it works against a real one."""
    program = (
        "import sys, leafsim, leafsim.cli, leafsim.watching\n"
        "[getattr(leafsim, name) for name in leafsim.__all__]\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('gateway', 'scenarios')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
