"""The cache of the SDKs' environments: made once, made anew when it is not complete, shared by runs at once."""

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from tests.interop.sdk import environments
from tests.interop.sdk.environments import STAMP, made, missing_programs, node_environment, python_environment, run

pytestmark = pytest.mark.interop

PINS = ("something==1",)


def install(folder):
    """Notes that it ran, in a file that is in the folder and in one that survives the folder."""
    (folder / "content").write_text("installed")
    with (folder.parent / "installed").open("a") as file:
        file.write("x")


def make(root):
    """Make an environment, in another process."""
    return made(root, "test", PINS, install)


def installed(root):
    """How often something was installed."""
    return len((root / "installed").read_text())


def test_environment_is_made_once(tmp_path):
    """The second time the folder is there; other pins are another folder."""
    first = made(tmp_path, "test", PINS, install)
    assert (first / "content").read_text() == "installed"
    assert made(tmp_path, "test", PINS, install) == first
    assert installed(tmp_path) == 1
    assert made(tmp_path, "test", ("something==2",), install) != first
    assert installed(tmp_path) == 2


def test_interrupted_installation_is_made_anew(tmp_path):
    """What was left behind is not taken for an environment, and nothing of it stays."""

    def interrupted(folder):
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, "test", PINS, interrupted)
    folder = made(tmp_path, "test", PINS, install)
    assert {path.name for path in folder.iterdir()} == {"content", STAMP}


def test_runs_at_once_make_it_once(tmp_path):
    """Whoever comes second waits and finds it made."""
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        folders = set(pool.map(partial(make), [tmp_path] * 4))
    assert len(folders) == 1
    assert installed(tmp_path) == 1


def test_failed_installation_says_why(tmp_path):
    """What the installer said is in the error, and the folder is not taken for an environment."""

    def fails(_):
        run(sys.executable, "-c", "raise SystemExit('no matching distribution')")

    with pytest.raises(RuntimeError, match="no matching distribution"):
        made(tmp_path, "test", PINS, fails)
    assert not list(tmp_path.glob(f"*/{STAMP}"))


def test_python_sdk_is_the_pinned_one():
    """Exactly the versions that the pins name, in an interpreter of its own."""
    interpreter = python_environment()
    frozen = subprocess.run([interpreter, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    assert set(environments.PYTHON_PINS) <= set(frozen.splitlines())
    assert str(interpreter) != sys.executable


def test_node_sdk_is_the_pinned_one():
    """Exactly the versions that the pins name, those of what the SDK stands on included."""
    if reason := missing_programs():
        pytest.skip(reason)
    modules = node_environment()
    for name, version in (environments.NODE_PINS | environments.NODE_OVERRIDES).items():
        assert json.loads((modules / name / "package.json").read_text())["version"] == version
