"""The lines that `leafgate up` prints, pasted into a shell as they stand."""

import json
from contextlib import contextmanager

import pytest

from tests.interop.programs import run, s_client, subjects
from tests.interop.test_openssl import HIERARCHY
from tests.scenarios.command import leafgate, running

pytestmark = pytest.mark.interop


LAST_LINE = "Ctrl-C stops it."


@contextmanager
def up(tmp_path, *arguments):
    """`leafgate up`; gives its ready file's facts and what it printed for people."""
    ready = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--log-level", "off", "--ready-file", ready, *arguments) as process:
        guide = []
        for line in process.stdout:
            guide.append(line)
            if line.startswith(LAST_LINE):
                break
        assert guide, process.communicate()
        yield json.loads(ready.read_text()), "".join(guide)


def command_line(guide, program):
    """The printed line that starts with `program`, its continuations included."""
    lines = guide.replace(" \\\n", " ").splitlines()
    return next(line.strip() for line in lines if line.strip().startswith(program))


def test_up_shows_the_documented_hierarchy(tmp_path):
    """`leafgate up` with the documentation's two names serves what the documentation's openssl picture shows."""
    with up(tmp_path, "--hostname", "iotedgegw.local", "--device-ca-cn", "iotgateway.ca") as (facts, _):
        seen = s_client(facts["bind"], facts["mqtt_port"], "iotedgegw.local", facts["root_ca"])
    assert [name for _, name, _ in subjects(seen.stdout)] == HIERARCHY
    assert "Verify return code: 0 (ok)" in seen.stdout


def test_printed_openssl_line_verifies(tmp_path):
    """The openssl line, pasted as it is, ends with a verified chain; for another name it does not."""
    with up(tmp_path) as (_, guide):
        line = command_line(guide, "openssl s_client")
        seen = run("openssl", shell_line=line)
        twin = run("openssl", shell_line=line.replace("-verify_hostname localhost", "-verify_hostname elsewhere"))
    assert "Verify return code: 0 (ok)" in seen.stdout
    assert "Verify return code: 62 (hostname mismatch)" in twin.stdout


def test_printed_mosquitto_pub_line_publishes(tmp_path):
    """The mosquitto_pub line, pasted as it is, is acknowledged; as a device without this key it is not authorised."""
    with up(tmp_path, "--leaf", "dev1", "--leaf", "dev2") as (_, guide):
        line = command_line(guide, "mosquitto_pub")
        sent = run("mosquitto_pub", shell_line=line)
        twin = run("mosquitto_pub", shell_line=line.replace("dev1", "dev2"))
    assert (sent.returncode, sent.stderr) == (0, "")
    assert (twin.returncode, "not authorised" in twin.stderr) == (5, True)


def test_up_runs_mosquitto_pub_as_a_device_program():
    """`leafgate up -- COMMAND` gives the program the root certificate's path, and its exit code is the command's."""
    program = (
        'mosquitto_pub -V 311 -h localhost -p "$PORT" --cafile "$IOTEDGE_ROOT_CA_CERT_PATH" -i dev1 -q 1'
        " -u 'hub.leafgate.test/dev1/?api-version=2021-04-12' -P 'no token' -t devices/dev1/messages/events/ -m 1"
    )
    port = """PORT=$(sed -n 's/.*"mqtt_port": \\([0-9]*\\).*/\\1/p' "$LEAFGATE_READY")"""
    ended = leafgate("up", "--mqtt-port", "0", "--leaf", "dev1", "--", "sh", "-c", f"{port}; {program}")
    assert ended.returncode == 5
    assert "Connection Refused: not authorised." in ended.stderr
