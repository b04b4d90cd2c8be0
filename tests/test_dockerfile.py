"""The Dockerfile, as far as it can be tried without a Docker engine: what it runs, run here."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.scenarios.command import running

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def array(instruction):
    """The last exec form of an instruction, as a list."""
    return json.loads(re.findall(rf"^{instruction}\b[^\[\n]*(\[.*\])$", TEXT, re.MULTILINE)[-1])


def is_healthy(port):
    """Run the HEALTHCHECK against a port of this machine."""
    program, *arguments = array("HEALTHCHECK")
    assert program == "python"
    environment = {**os.environ, "LEAFGATE_MQTT_PORT": str(port)}
    return (
        subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def variables(tmp_path):
    """The image's variables, with a folder and a port of this machine in them."""
    (line,) = re.findall(r"^ENV (.*)$", TEXT, re.MULTILINE)
    found = dict(pair.split("=") for pair in line.split())
    assert found == {"LEAFGATE_BIND": "0.0.0.0", "LEAFGATE_STATE": "/state", "LEAFGATE_MQTT_PORT": "8883"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"LEAFGATE_BIND": "127.0.0.1", "LEAFGATE_STATE": str(tmp_path), "LEAFGATE_MQTT_PORT": str(port)}


def test_container_command_serves_and_is_healthy(variables, tmp_path):
    """Entry point and variables start a gateway that the health check accepts, until it is stopped."""
    assert array("ENTRYPOINT") == ["leafgate"]
    port = variables["LEAFGATE_MQTT_PORT"]
    with running(*array("CMD"), env=variables) as process:
        guide = iter(process.stdout.readline, "")
        assert any(line.startswith("Ctrl-C stops it.") for line in guide)
        assert is_healthy(port)
        assert (tmp_path / "root.pem").exists()
        process.send_signal(signal.SIGTERM)  # what `docker stop` sends
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert not is_healthy(port)


def test_port_that_does_not_speak_tls_is_unhealthy():
    """An open port alone is not a gateway."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as beside:
        visit = beside.submit(listener.accept)
        beside.submit(lambda: visit.result()[0].sendall(b"220 mail.test ESMTP\r\n"))
        assert not is_healthy(listener.getsockname()[1])
        visit.result()[0].close()


def test_image_does_not_run_as_root():
    """The last USER is a number other than 0, so that an orchestrator can see that it is not root."""
    assert int(re.findall(r"^USER (\S+)$", TEXT, re.MULTILINE)[-1]) > 0


def test_build_context_has_all_that_is_installed():
    """Everything that the packaging needs gets past .dockerignore, and nothing else does."""
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[0] == "*"
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    packages = {"certs", "gateway", "leafsim", "scenarios"}
    assert let_in == packages | {"leafgate.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in let_in)
