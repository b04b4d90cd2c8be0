"""The front door: public names, the command, and what happens when a user's package hides one of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import leafgate

HEAVY = (
    "amqtt",
    "cryptography",
    "gateway.service",
    "OpenSSL",
    "paho",
    "pydantic",
    "rich",
    "ruamel",
    "scenarios.load",
    "ssl",
)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    words = [sys.executable, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def package(folder: Path, name: str) -> None:
    """A package of the user's."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text('"""Mine."""\n')


@pytest.mark.parametrize("name", leafgate.__all__)
def test_public_name_is_what_its_package_has(name: str) -> None:
    """`from leafgate import X` gives the class of the package that owns it."""
    found = getattr(leafgate, name)
    assert found.__name__ == name
    assert found.__module__.partition(".")[0] in leafgate.PACKAGES


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt import fails as any module's does."""
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        leafgate.Gatway  # noqa: B018


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """`leafgate --version` says the version of the installed distribution."""
    from importlib.metadata import version

    assert leafgate.main(["--version"]) == 0
    assert capsys.readouterr().out == f"leafgate {version('leafgate')}\n"


def test_help_imports_nothing_heavy() -> None:
    """`leafgate --help` lists every command without loading what they need."""
    program = f"import leafgate, sys; leafgate.main(['--help']); print([n for n in {HEAVY!r} if n in sys.modules])"
    lines = python("-c", program).stdout.splitlines()
    assert lines[-1] == "[]"
    for command in ("certs", "demo", "faults", "leaf", "list", "run", "schema", "up", "validate"):
        assert any(line.startswith(f"  {command} ") for line in lines)


@pytest.mark.parametrize("name", leafgate.PACKAGES)
def test_shadowed_package_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    """A package of the user's with one of our names is named, with the way out, without a traceback."""
    package(tmp_path, name)
    done = python("-m", "leafgate", "list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    first, hint = done.stderr.splitlines()
    assert first == (
        f"leafgate: the package {name!r} that Python finds is {tmp_path / name / '__init__.py'}, not leafgate's"
    )
    assert "python -P" in hint


def test_way_out_of_shadowing_works(tmp_path: Path) -> None:
    """With -P the current folder is not searched, and the command runs."""
    package(tmp_path, "gateway")
    assert python("-P", "-m", "leafgate", "schema", cwd=tmp_path).returncode == 0


def test_shadowed_package_stops_pytest_with_the_same_line(tmp_path: Path) -> None:
    """The plugin says it as a usage error, not as a crash."""
    package(tmp_path, "gateway")
    done = python("-m", "pytest", cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "leafgate: the package 'gateway' that Python finds is" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_of_all_packages_print_the_same_way() -> None:
    """Each package's base error has a message, a hint and an exit code, so that the front door can print it."""
    from certs import CertsError
    from gateway import GatewayError
    from leafsim import LeafError
    from scenarios.errors import ScenariosError

    for base in (CertsError, GatewayError, LeafError, ScenariosError):
        error = base("what", "do this")
        assert (error.message, error.hint) == ("what", "do this")
        assert error.exit_code in (2, 3)


def test_pipe_that_is_closed_early_leaves_no_traceback() -> None:
    """`leafgate list | head -1` ends quietly."""
    command = f"{sys.executable} -m leafgate list | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "tls/\n"
    assert "Traceback" not in done.stderr
