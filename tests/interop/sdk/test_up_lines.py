"""The lines for the SDKs that `leafgate up` prints, pasted into a shell as they stand."""

import os
import subprocess

import pytest

from tests.interop.sdk.environments import missing_programs, node_environment, python_environment
from tests.interop.sdk.process import HERE, PATIENCE
from tests.interop.test_up import command_line, up

pytestmark = pytest.mark.interop


def pasted(line, **environment):
    """Run a line in a shell; returns its exit code and what it complained about."""
    ended = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_printed_python_line_delivers(tmp_path):
    """The line sends a message that is acknowledged; with the key of another device it is refused."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, redirect\nredirect.install()\n"
        "redirect.add('localhost', 8883, '127.0.0.1', int(os.environ['PORT']))\n"
    )
    with up(tmp_path, "--leaf", "dev1", "--leaf", "dev2") as (facts, guide):
        line = command_line(guide, "python -c")
        environment = {
            "PATH": f"{python_environment().parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{tmp_path}:{HERE}",
            "PORT": facts["mqtt_port"],
        }
        assert pasted(line, **environment) == (0, "")
        code, said = pasted(line.replace("dev1", "dev2"), **environment)
    assert code == 1
    assert "CredentialError: Credentials invalid, could not connect" in said


def test_printed_node_line_delivers(tmp_path):
    """The line sends a message that is acknowledged, on any port; with the key of another device it is refused."""
    if reason := missing_programs():
        pytest.skip(reason)
    with up(tmp_path, "--leaf", "dev1", "--leaf", "dev2") as (_, guide):
        line = command_line(guide, "node -e")
        assert pasted(line, NODE_PATH=node_environment()) == (0, "")
        code, said = pasted(line.replace("dev1", "dev2"), NODE_PATH=node_environment())
    assert code == 1
    assert "UnauthorizedError: mqtt.js returned Failure on first connection (Not authorized)" in said
