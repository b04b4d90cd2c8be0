"""`leafgate upstream | clock | health` against a running gateway."""

import json
import os
import pty
import signal
import subprocess
import sys
from datetime import datetime

import pytest

from gateway import Settings
from gateway.cli import Source, State
from gateway.upstream.arrivals import SOURCES
from gateway.upstream.link import LinkState
from scenarios.rig import GatewayHandle
from tests.scenarios.command import CLEAN, COMMAND, inside


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    """A running gateway on a thread of its own; nothing of the user's says where another one is."""
    for name in [name for name in os.environ if name.startswith("LEAFGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    with GatewayHandle(tmp_path / "state", admin_port=0, settings=Settings(twin_change_events=False)) as running:
        yield running


@pytest.fixture
def leafgate(gateway, capsys):
    """Runs a command against it, as its ready file says."""
    return lambda *words: inside(capsys, *words, "--ready", gateway.ready_file)


@pytest.fixture
def press(gateway):
    """A device that has sent two messages."""
    leaf = gateway.leaf("press")
    with leaf.device() as device:
        device.send('{"t": 1}', {"line": "4"})
        device.send(b"\x00\xff")
    for _ in range(2):
        gateway.upstream.next_message("press")
    return leaf


def test_tail_shows_what_there_is(leafgate, press):
    """One line per message, oldest first, without colours when nobody looks."""
    done = leafgate("upstream", "tail", "--no-follow")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.split("  ", 1)[1] == 'press         {"t": 1}  line=4'
    assert second.endswith("00 ff (2 bytes)")


def test_tail_as_json_is_the_feeds_form(leafgate, press, gateway):
    """One event per line; `--count`, `--after` and the filters choose."""
    lines = leafgate("upstream", "tail", "--no-follow", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["sequence"] for event in events] == [1, 2]
    for words, expected in (
        (("--count", "1"), [1]),
        (("--after", "1"), [2]),
        (("--device", "press", "--source", "Telemetry"), [1, 2]),
        (("--device", "mill"), []),
        (("--source", "deviceLifecycleEvents"), []),
    ):
        done = leafgate("upstream", "tail", "--no-follow", "--json", *words)
        assert [json.loads(line)["sequence"] for line in done.stdout.splitlines()] == expected


def test_tail_follows_from_a_number_until_it_has_enough(leafgate, press):
    """What is there already comes at once."""
    done = leafgate("upstream", "tail", "--follow", "--after", "0", "--count", "2")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


def test_tail_says_what_it_missed(tmp_path, capsys):
    """On stderr, so that the messages can be piped on."""
    with (
        GatewayHandle(tmp_path, admin_port=0, settings=Settings(inbox_limit=1, twin_change_events=False)) as gateway,
        gateway.leaf("press").device() as device,
    ):
        device.send(b"1")
        device.send(b"2")
        done = inside(capsys, "upstream", "tail", "--no-follow", "--json", "--ready", gateway.ready_file)
    assert [json.loads(line)["sequence"] for line in done.stdout.splitlines()] == [2]
    assert done.stderr == "(1 messages before these are kept no more)\n"


def test_ctrl_c_ends_a_tail_with_130(gateway, press):
    """Without a traceback."""
    words = [*COMMAND, "upstream", "tail", "--after", "0", "--ready", str(gateway.ready_file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN) as process:
        assert "press" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_terminal_gets_colours_unless_it_wants_none(gateway, press, no_color, coloured):
    """NO_COLOR with anything in it says so (no-color.org)."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "leafgate", "upstream", "tail", "--no-follow", "--ready", str(gateway.ready_file)]
    subprocess.run(words, stdout=theirs, env={**CLEAN, "TERM": "xterm", "NO_COLOR": no_color}, check=True, timeout=60)
    os.close(theirs)
    assert (b"\x1b[" in os.read(ours, 65_536)) is coloured
    os.close(ours)


def test_send_queues_a_message(leafgate, gateway):
    """With properties; text is sent as it is."""
    gateway.leaf("press")
    done = leafgate("upstream", "send", "press", "grün", "--property", "a=b=c", "--system", "message-id=7")
    assert done.returncode == 0
    assert done.stdout.startswith("queued for press; 1 waiting, expires ")
    command = gateway.call(lambda inner: inner.upstream.commands.receive("press"))
    assert (command.body.decode(), dict(command.properties), command.message_id) == ("grün", {"a": "b=c"}, "7")


def test_send_reads_its_body_from_standard_input(gateway):
    """Any bytes."""
    gateway.leaf("press")
    words = [*COMMAND, "upstream", "send", "press", "-", "--json", "--ready", str(gateway.ready_file)]
    done = subprocess.run(words, input=b"\x00\xff", capture_output=True, env=CLEAN, check=True, timeout=60)
    assert json.loads(done.stdout)["waiting"] == 1
    assert gateway.call(lambda inner: inner.upstream.commands.receive("press").body) == b"\x00\xff"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("upstream", "send", "stranger", "x"), 1, "device 'stranger' is not registered"),
        (("upstream", "send", "press", "x", "--system", "colour=red"), 2, "'colour' is no system property"),
        (("upstream", "send", "press", "x", "--property", "red"), 2, "'red' is not KEY=VALUE"),
        (("upstream", "send", "press", "x" * 70_000), 1, "a message of 70000 bytes"),
        (("clock", "advance", "soon"), 2, "advance: write seconds as a number, or a duration"),
        (("clock", "advance", "-1h"), 2, "time does not run backwards"),
        (("upstream", "tail", "--source", "nonsense"), 2, "'nonsense' is not one of"),
    ],
)
def test_what_is_refused_is_said(leafgate, gateway, words, code, message):
    """Exit code 1 when the gateway refuses, 2 when the command is wrong; never a traceback."""
    gateway.leaf("press")
    done = leafgate(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_clock_is_shown_and_moved(leafgate, gateway):
    """`advance` for everybody, `step` back and forth for the gateway alone."""

    def moved(*words):
        done = leafgate("clock", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert moved("show")["passed"] == 0
    assert moved("advance", "+2h")["passed"] == 7_200
    assert round(moved("step", "-30s")["ahead"]) == 7_170
    assert moved("advance", "1.5")["passed"] == 7_201.5
    shown = leafgate("clock", "show").stdout
    assert shown.endswith("  (+7172 s against the machine's)\n")
    assert datetime.fromisoformat(shown.split()[0]).timestamp() > 0


def test_health_is_an_exit_code(leafgate, gateway):
    """0 while Edge Hub takes connections, 1 while it is down."""
    done = leafgate("health")
    assert (done.returncode, done.stdout) == (0, "localhost is up, 0 clients connected\n")
    gateway.wait_for(lambda inner: inner.exit())
    done = leafgate("health", "--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "down")


def test_gateway_is_named_by_its_address(gateway, capsys):
    """With or without the path."""
    url = gateway.call(lambda inner: inner.admin_url)
    for given in (url, f"{url}/", f"{url}/api/v1"):
        assert inside(capsys, "health", "--url", given).returncode == 0


def test_gateway_of_other_machines_wants_the_token(tmp_path, capsys, monkeypatch):
    """It is in the ready file; with an address it comes from the environment."""
    from gateway import Gateway
    from scenarios import ready
    from scenarios.rig import LoopThread

    thread = LoopThread()
    gateway = Gateway(bind="0.0.0.0", admin_port=0)
    thread.run(gateway.start())
    try:
        ready.write(tmp_path / "ready.json", ready.facts(gateway, {}))
        assert inside(capsys, "health", "--ready", tmp_path / "ready.json").returncode == 0
        refused = inside(capsys, "health", "--url", gateway.admin_url)
        assert (refused.returncode, "Authorization: Bearer" in refused.stderr) == (1, True)
        monkeypatch.setenv("LEAFGATE_ADMIN_TOKEN", gateway.admin_token)
        assert inside(capsys, "health", "--url", gateway.admin_url).returncode == 0
    finally:
        thread.run(gateway.stop())
        thread.close()


@pytest.fixture
def alone(tmp_path, monkeypatch, capsys):
    """Runs a command where no gateway is found; a proxy is not asked for one of this machine."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("LEAFGATE_READY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    return lambda *words: inside(capsys, *words)


@pytest.mark.parametrize(
    ("ready", "code", "message"),
    [
        (None, 3, "there is no ready file"),
        ("not json", 2, "is no ready file"),
        ("[]", 2, "is no ready file"),
        ('{"admin_url": null}', 3, "has no HTTP interface"),
        ('{"admin_url": "http://127.0.0.1:1"}', 3, "no gateway answers at http://127.0.0.1:1"),
    ],
)
def test_ready_file_that_leads_nowhere_is_said(alone, tmp_path, ready, code, message):
    """3 when there is no gateway, 2 when the file is none."""
    if ready is not None:
        (tmp_path / "ready.json").write_text(ready)
    done = alone("health", "--ready", tmp_path / "ready.json")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 3, "no running gateway was found"),
        (("--url", "127.0.0.1:8080"), 2, "is no address of a gateway"),
        (("--url", "http://127.0.0.1:1"), 3, "no gateway answers at http://127.0.0.1:1"),
        (("--url", "http://["), 3, "no gateway answers at http://["),
    ],
)
def test_gateway_that_is_not_there_is_exit_code_3(alone, words, code, message):
    """With what to do next."""
    done = alone("health", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "hint: " in done.stderr


def test_link_is_shown_and_switched(leafgate, gateway):
    """One line: the state, whom IoT Hub refuses, what Edge Hub believes; 2 for a state that there is not."""
    assert leafgate("upstream", "link").stdout == "up; Edge Hub is connected\n"
    done = leafgate("upstream", "link", "slow", "--latency", "2", "--unauthorized", "b", "--unauthorized", "a")
    assert (done.returncode, done.stdout) == (0, "slow (2 s), refuses a, b; Edge Hub is connected\n")
    assert gateway.upstream.link.state == "slow"
    assert leafgate("upstream", "link", "--unauthorized", "").stdout == "slow (2 s); Edge Hub is connected\n"
    noticed = json.loads(leafgate("upstream", "link", "refused", "--noticed", "--json").stdout)
    assert (noticed["state"], noticed["edge_hub"]) == ("refused", "disconnected")
    assert leafgate("upstream", "link", "sideways").returncode == 2
    assert leafgate("upstream", "link", "--noticed").returncode == 2
    endless = leafgate("upstream", "link", "slow", "--latency", "inf")
    assert (endless.returncode, "black-hole" in endless.stderr, "Traceback" in endless.stderr) == (2, True, False)
    assert gateway.upstream.link.state == "refused"


def test_command_line_knows_every_state_and_source():
    """It has the words by itself, so that --help answers at once; they are those of the gateway."""
    assert [state.value for state in State] == [state.value for state in LinkState]
    assert tuple(source.value for source in Source) == SOURCES
