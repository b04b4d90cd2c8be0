"""Where running gateways are found."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import runtime

HOLD = """
import sys
from gateway.runtime import announced
with announced({"admin_url": "killed"}):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Each test has a runtime folder of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_gateway_is_found_as_long_as_it_runs(tmp_path):
    """The newest first; afterwards nothing is left; only the owner may read what it wrote."""
    with runtime.announced({"admin_url": "one"}):
        (path,) = (tmp_path / "leafgate").iterdir()
        os.utime(path, ns=(1, 1))
        with runtime.announced({"admin_url": "two"}):
            assert [facts["admin_url"] for facts in runtime.running()] == ["two", "one"]
            modes = [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())]
            assert modes == [0o700, 0o600, 0o600]
        assert [facts["admin_url"] for facts in runtime.running()] == ["one"]
    assert runtime.running() == []
    assert list((tmp_path / "leafgate").iterdir()) == []


def test_what_a_killed_gateway_left_is_removed(tmp_path):
    """Its lock is gone with the process, whoever has its number now."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert [facts["admin_url"] for facts in runtime.running()] == ["killed"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list((tmp_path / "leafgate").iterdir())) == 1
    assert runtime.running() == []
    assert list((tmp_path / "leafgate").iterdir()) == []


def test_gateway_starts_where_nothing_can_be_written(tmp_path, monkeypatch):
    """It is not found then, and that is all."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with runtime.announced({"admin_url": "one"}):
        assert runtime.running() == []


def test_cache_takes_the_place_of_a_runtime_folder(tmp_path, monkeypatch):
    """On a machine without one."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with runtime.announced({"admin_url": "one"}):
        (path,) = (tmp_path / "cache" / "leafgate" / "run").iterdir()
        assert json.loads(path.read_text()) == {"admin_url": "one"}
