"""`leafgate leaf ...`."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from leafsim import ConnackRefused, ConnectionStringError, Disconnected, LeafError, TlsRefused, TrustError, Unreachable
from leafsim.cli import app
from tests.leafsim.conftest import KEY, NAME, STRING
from tests.leafsim.responder import CONNECT, PUBLISH, SUBSCRIBE


@pytest.fixture
def run(root, monkeypatch):
    """Run a command against a responder; returns click's result."""
    for name in [name for name in os.environ if name.startswith(("LEAFGATE_", "IOTHUB_", "IOTEDGE_"))]:
        monkeypatch.delenv(name)

    def command(name, responder, *arguments, trust=root, text=STRING, **options):
        words = [
            name,
            "--port",
            str(responder.port),
            "--connect-to",
            f"{NAME}:{responder.port}:127.0.0.1:{responder.port}",
        ]
        words += ["--trust", str(trust)] if trust else []
        words += ["--connection-string", text] if text else []
        return CliRunner().invoke(app, [*words, *arguments], **options)

    return command


def test_connect_says_how_it_went(run, serve):
    """Success is one line with who, where and which TLS."""
    responder = serve()
    done = run("connect", responder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"connected to {NAME}:{responder.port} as press-7 (TLSv1.3)\n"


def test_connect_as_json(run, serve):
    """--json is one object on stdout."""
    done = run("connect", serve(), "--json")
    assert json.loads(done.stdout) == {"version": 1, "outcome": "connected", "session_present": False, "tls": "TLSv1.3"}


@pytest.mark.parametrize(
    ("options", "error", "exit_code"),
    [
        ({"trust": "none"}, TlsRefused, 1),
        ({"trust": "missing.pem"}, TrustError, 2),
        ({"text": STRING + ";"}, ConnectionStringError, 2),
        ({"text": ""}, LeafError, 2),
    ],
)
def test_failure_is_raised_for_the_front_door(run, serve, options, error, exit_code):
    """Without --json an error goes to the front door, which prints message and hint and exits with its code."""
    done = run("connect", serve(), **options)
    assert type(done.exception) is error
    assert done.exception.exit_code == exit_code
    assert done.exception.hint
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "outcome", "exit_code"),
    [
        ({"connack": 5}, "connack-refused", 1),
        ({"manner": "slam"}, "tls-refused", 1),
        ({"manner": "hang-up"}, "disconnected", 1),
    ],
)
def test_failure_as_json(run, serve, options, outcome, exit_code):
    """With --json the error is the one object on stdout, and the exit code says refused."""
    done = run("connect", serve(**options), "--json")
    assert done.exit_code == exit_code
    assert json.loads(done.stdout)["outcome"] == outcome


def test_unreachable_is_3(run, serve):
    """Nobody there is exit code 3."""
    responder = serve()
    responder.close()
    assert isinstance(run("connect", responder).exception, Unreachable)
    assert run("connect", responder, "--json").exit_code == 3


def test_connection_string_and_trust_from_the_environment(run, serve, root, monkeypatch):
    """The variables that device programs are given work here too, and the key is not on the command line."""
    monkeypatch.setenv("IOTHUB_DEVICE_CONNECTION_STRING", STRING)
    monkeypatch.setenv("IOTEDGE_ROOT_CA_CERT_PATH", str(root))
    assert run("connect", serve(), trust=None, text=None).exit_code == 0


def test_connection_string_from_standard_input(run, serve):
    """A dash reads it from standard input."""
    assert run("connect", serve(), text="-", input=STRING + "\n").exit_code == 0


def test_options_from_the_environment(run, serve, monkeypatch):
    """Every long option has its variable."""
    monkeypatch.setenv("LEAFGATE_LEAF_CLIENT_ID", "PRESS-7")
    responder = serve()
    assert run("connect", responder).exit_code == 0
    assert responder.wait(CONNECT)[0].client_id == "PRESS-7"


def test_send_numbers_messages(run, serve):
    """--count sends several, {n} is their number, --property goes into the bag."""
    responder = serve()
    done = run("send", responder, "--body", '{"n": {n}}', "--property", "line=4", "--property", "raw", "--count", "3")
    assert done.exit_code == 0
    assert done.stdout == f"3 messages acknowledged by {NAME}:{responder.port} as press-7\n"
    packets = responder.wait(PUBLISH, 3)
    assert [packet.body for packet in packets] == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']
    assert packets[0].topic == "devices/press-7/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&line=4&raw"


def test_send_text_makes_no_claim(run, serve):
    """A body that is no JSON has no content type; --message-id is numbered too."""
    responder = serve()
    assert run("send", responder, "--body", "21 degrees", "--message-id", "m-{n}").exit_code == 0
    assert responder.wait(PUBLISH)[0].topic == "devices/press-7/messages/events/%24.mid=m-1"


def test_send_that_is_not_acknowledged_as_json(run, serve):
    """An error says how many were acknowledged before."""
    done = run("send", serve(acknowledge=False), "--timeout", "0.5", "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert (found["outcome"], found["sent"]) == ("not-acknowledged", 0)


def test_send_with_a_property_that_is_none(run, serve):
    """A property without a name is wrong usage."""
    done = run("send", serve(), "--property", "=4")
    assert done.exit_code == 2
    assert "KEY=VALUE" in done.stderr


def test_certificate_without_key(run, serve):
    """A certificate without its key is wrong usage."""
    assert run("connect", serve(), "--cert-file", "c.pem").exception.exit_code == 2


def _watch(responder, root, *arguments):
    command = [sys.executable, "-c", "from leafsim.cli import app; app()", "watch", "--trust", str(root), *arguments]
    command += ["--port", str(responder.port), "--connect-to", f"{NAME}:{responder.port}:127.0.0.1:{responder.port}"]
    environment = {**os.environ, "IOTHUB_DEVICE_CONNECTION_STRING": STRING}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_watch_until_ctrl_c(serve, root):
    """What arrives is printed as it comes; Ctrl-C ends it with 130, without a traceback."""
    responder = serve()
    with _watch(responder, root) as process:
        filters = responder.wait(SUBSCRIBE)[0]["filters"]
        assert process.stderr.readline().startswith(f"watching {NAME}:{responder.port} as press-7")
        responder.push("devices/press-7/messages/devicebound/colour=deep%20blue", b"hello\x1b[31m")
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=30)
    assert filters[0] == "devices/press-7/messages/devicebound/#"
    assert line == "c2d      colour=deep blue  hello\\x1b[31m\n"
    assert (process.returncode, rest) == (130, "")
    assert "Traceback" not in complaints


def test_watch_as_json_stops_after_count(serve, root):
    """--json prints one object per message, --count ends it."""
    responder = serve()
    with _watch(responder, root, "--json", "--count", "3") as process:
        responder.wait(SUBSCRIBE)
        responder.push("$iothub/methods/POST/reboot/?$rid=1", b'{"delay": 5}')
        responder.push("$iothub/twin/PATCH/properties/desired/?$version=2", b"not json")
        responder.push("other", b"\xff")
        found = [json.loads(line) for line in process.communicate(timeout=30)[0].splitlines()]
    assert process.returncode == 0
    assert found == [
        {"kind": "method", "topic": "$iothub/methods/POST/reboot/?$rid=1", "qos": 0, "body": {"delay": 5}},
        {"kind": "desired", "topic": "$iothub/twin/PATCH/properties/desired/?$version=2", "qos": 0, "text": "not json"},
        {"kind": "other", "topic": "other", "qos": 0, "base64": "/w=="},
    ]


def test_watch_ends_when_the_gateway_goes(serve, root):
    """A lost connection ends the watch with 1 and the reason."""
    responder = serve()
    with _watch(responder, root, "--json") as process:
        process.stderr.readline()
        responder.drop()
        found = json.loads(process.communicate(timeout=30)[0])
    assert (process.returncode, found["outcome"]) == (1, "disconnected")
    assert found["reason"] == "the gateway closed the connection"


@pytest.mark.parametrize("command", ["connect", "send", "watch"])
def test_help_has_examples_and_no_secret(command, monkeypatch):
    """--help shows an example, and not what the environment holds."""
    monkeypatch.setenv("IOTHUB_DEVICE_CONNECTION_STRING", STRING)
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example: leafgate leaf" in done.stdout
    assert KEY not in done.stdout


def test_refusals_have_their_classes(run, serve):
    """What the gateway refused and what just ended are told apart on the command line too."""
    assert isinstance(run("connect", serve(connack=3)).exception, ConnackRefused)
    assert isinstance(run("connect", serve(manner="hang-up")).exception, Disconnected)
