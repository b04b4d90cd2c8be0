"""`leafgate up`: from start to stop, and everything that can keep it from starting."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway import Settings
from leafsim import ConnectionString, Device, TlsRefused
from scenarios.cli import Generation
from scenarios.errors import ScenariosError
from scenarios.settings import parse_settings
from tests.scenarios.command import inside, leafgate, running

DEVICE = """
import json, os, sys
from leafsim import Device
ready = json.load(open(os.environ["LEAFGATE_READY"]))
text, root = os.environ["IOTHUB_DEVICE_CONNECTION_STRING"], os.environ["IOTEDGE_ROOT_CA_CERT_PATH"]
with Device(text, trust=root, port=ready["mqtt_port"]) as device:
    device.send({"n": 1})
print(sorted(ready["leaves"]), "SSL_CERT_FILE" in os.environ)
sys.exit(7)
"""


def ready(process: subprocess.Popen[str], path: Path) -> dict[str, Any]:
    """The ready file, once it is there."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no ready file"
        os.sched_yield()
    return dict(json.loads(path.read_text()))


def connect_to(facts: dict[str, Any], name: str | None = None) -> dict[tuple[str, int], tuple[str, int]]:
    """The way to the gateway whatever its name resolves to."""
    return {(name or facts["hostname"], facts["mqtt_port"]): (facts["bind"], facts["mqtt_port"])}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """The ready file appears, a leaf connects by its connection string, and a signal ends it with exit code 0."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--leaf", "dev1", "--leaf", "dev2", "--ready-file", path) as process:
        facts = ready(process, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for name, text in facts["leaves"].items():
            assert text.startswith("HostName=hub.leafgate.test;DeviceId=" + name + ";SharedAccessKey=")
            assert text.endswith(";GatewayHostName=localhost")
            with Device(
                text, trust=Path(facts["root_ca"]), port=facts["mqtt_port"], connect_to=connect_to(facts)
            ) as device:
                device.send({"n": 1})
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
    for name, text in facts["leaves"].items():
        assert f"{name}:  {text}" in output
    assert facts["root_ca"] in output
    assert not Path(facts["root_ca"]).exists(), "without --state nothing is left behind"


def test_ready_file_has_the_published_shape(tmp_path: Path) -> None:
    """Every key of the interface is there; what does not exist is null."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--hostname", "gw.factory.test", "--ready-file", path) as process:
        facts = ready(process, path)
        assert facts["pid"] == process.pid
    assert (facts["version"], facts["hostname"], facts["bind"]) == (1, "gw.factory.test", "127.0.0.1")
    always = {"version", "pid", "hostname", "bind", "mqtt_port", "root_ca", "state", "hub", "leaves", "children"}
    assert set(facts) == always | {"https_port", "metrics_port", "admin_url"}
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", facts["admin_url"])
    assert facts["https_port"] not in (0, facts["mqtt_port"])
    hub = facts["hub"]
    port, rest = hub["https_port"], r";SharedAccessKeyName=iothubowner;SharedAccessKey=[A-Za-z0-9+/]{43}="
    assert port not in (0, facts["mqtt_port"], facts["https_port"])
    assert re.fullmatch(f"HostName=localhost:{port}{rest}", hub["service_connection_string"])
    assert re.fullmatch(f"HostName=hub.leafgate.test{rest}", hub["service_connection_string_named"])
    assert hub["root_ca"] == facts["root_ca"].replace("root.pem", "hub-root.pem")
    assert hub["hostname"] == "hub.leafgate.test"
    assert hub["feed_url"] == f"{facts['admin_url']}/api/v1/feed"
    assert hub["c2d_url"] == f"{facts['admin_url']}/api/v1/c2d"
    assert len(hub) == 7
    assert list(facts["leaves"]) == ["leaf-1"]


def test_ready_file_of_an_earlier_run_is_gone_before_this_one_is_ready(tmp_path: Path) -> None:
    """Whoever waits for the file must not find an old one, also when the gateway does not come up."""
    path = tmp_path / "ready.json"
    path.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = leafgate("up", "--mqtt-port", str(taken.getsockname()[1]), "--ready-file", path)
    assert done.returncode == 3
    assert not path.exists()


def test_guide_has_a_line_for_each_program(tmp_path: Path) -> None:
    """Python, Node, mosquitto_pub and openssl have lines to copy; a name that does not resolve has its ways out."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--hostname", "gw.leafgate.test", "--ready-file", path) as process:
        facts = ready(process, path)
        port, hub = facts["mqtt_port"], facts["hub"]
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert f"  hub     127.0.0.1:{hub['https_port']}  (service API of hub.leafgate.test)" in output
    assert f"          {hub['service_connection_string']}\n" in output
    assert f"REQUESTS_CA_BUNDLE={hub['root_ca']} python -c 'from azure.iot.hub import" in output
    assert f'NODE_EXTRA_CA_CERTS={hub["root_ca"]} node -e \'require("azure-iothub")' in output
    assert "connects to port 443 only, so start with --hub-port 443 --https-port 8444" in output
    assert re.search(
        r"\n  ends    20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, gw.leafgate.test \(the server certificate", output
    )
    assert "IoTHubDeviceClient" in output
    assert "azure-iot-device-mqtt" in output
    assert "connects to port 8883 only" in output
    assert "mosquitto_pub -V mqttv311 -h gw.leafgate.test" in output
    assert "-P 'SharedAccessSignature sr=hub.leafgate.test%2Fdevices%2Fleaf-1&sig=" in output
    assert f"openssl s_client -connect 127.0.0.1:{port} -servername gw.leafgate.test" in output
    assert "127.0.0.1  gw.leafgate.test" in output
    own = next(line for line in output.splitlines() if "leafgate leaf send" in line)
    assert f"--port {port} --connect-to gw.leafgate.test:{port}:127.0.0.1:{port}" in own
    assert f"gw.leafgate.test:{port}:127.0.0.1:{port}" in output


def test_running_gateway_is_found_by_the_other_commands(tmp_path: Path) -> None:
    """Without being told where: the newest one of this user, until it stops; the guide has the lines to copy."""
    path, own = tmp_path / "ready.json", {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with running("up", "--mqtt-port", "0", "--leaf", "dev$1", "--ready-file", path, env=own) as process:
        ready(process, path)
        assert leafgate("health", env=own).stdout == "localhost is up, 0 clients connected\n"
        assert leafgate("clock", "advance", "+2h", env=own).stdout.endswith("  (+7200 s against the machine's)\n")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert "\n  leafgate upstream tail\n" in output
    assert "leafgate upstream send 'dev$1' 'restart please' --property urgent=yes" in output
    gone = leafgate("health", env=own)
    assert (gone.returncode, "no running gateway was found" in gone.stderr) == (3, True)


def test_what_arrives_is_written_as_json_lines(tmp_path: Path) -> None:
    """To the file of --messages and to that of --sink, in the feed's form."""
    files = tmp_path / "all.jsonl", tmp_path / "more.jsonl"
    options = ("--mqtt-port", "0", "--leaf", "dev1", "--messages", files[0], "--sink", f"file:path={files[1]}")
    done = leafgate("up", *options, "--", sys.executable, "-c", DEVICE)
    assert done.returncode == 7, done.stderr
    for file in files:
        events = [json.loads(line) for line in file.read_text().splitlines()]
        telemetry = [event for event in events if event["source"] == "Telemetry"]
        assert [(event["deviceId"], event["sequence"]) for event in telemetry] == [("dev1", 1)]


def test_refused_client_shows_at_once_with_its_probable_cause(tmp_path: Path) -> None:
    """One line on stderr: who, its alert, and what is wrong with the chain."""
    path = tmp_path / "ready.json"
    arguments = ("--mqtt-port", "0", "--ready-file", path, "--log-level", "off", "--defect", "expired-server")
    with running("up", *arguments) as process:
        facts = ready(process, path)
        device = Device(
            facts["leaves"]["leaf-1"],
            trust=Path(facts["root_ca"]),
            port=facts["mqtt_port"],
            connect_to=connect_to(facts),
        )
        with pytest.raises(TlsRefused):
            device.connect(timeout=10)
        assert process.stderr is not None
        line = process.stderr.readline()
    assert line.startswith("✗ refused 127.0.0.1:")
    assert "alert certificate_expired" in line
    assert "expired" in line.partition("certificate_expired")[2]


def test_log_is_the_products_or_json(tmp_path: Path) -> None:
    """The log on stderr has Edge Hub's format, or one JSON object per line."""
    for arguments, check in (
        ((), lambda line: line.startswith("<")),
        (("--log-json",), lambda line: json.loads(line)["level"]),
    ):
        path = tmp_path / f"ready{len(arguments)}.json"
        with running("up", "--mqtt-port", "0", "--ready-file", path, *arguments) as process:
            ready(process, path)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
        assert errors
        assert all(map(check, errors.splitlines()))


def test_command_runs_with_the_environment_of_a_device_program() -> None:
    """`-- COMMAND` gets connection string, root and ready file; its exit code is ours, stdout is its own."""
    done = leafgate("up", "--mqtt-port", "0", "--leaf", "dev1", "--", sys.executable, "-c", DEVICE)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "['dev1'] False\n"


def test_command_that_does_not_exist_exits_3() -> None:
    """A program that cannot be run is one line."""
    done = leafgate("up", "--mqtt-port", "0", "--", "./no-such-program")
    assert (done.returncode, done.stdout) == (3, "")
    assert "leafgate: cannot run './no-such-program': no such file or directory\n" in done.stderr


def test_scenario_is_served_with_its_leaves_and_faults(tmp_path: Path) -> None:
    """`--scenario NAME` serves exactly that chain: the scenario's leaf is refused by hand as in the run."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--ready-file", path, "--scenario", "cn-loop-without-key-ids") as process:
        facts = ready(process, path)
        text = facts["leaves"]["press-7"]
        assert ConnectionString.parse(text).gateway_host_name == "gw.factory.test"
        device = Device(text, trust=Path(facts["root_ca"]), port=facts["mqtt_port"], connect_to=connect_to(facts))
        with pytest.raises(TlsRefused) as refused:
            device.connect(timeout=10)
    assert refused.value.verify_code == 18


def test_scenario_in_a_command_gets_the_store_only_when_it_says_so() -> None:
    """SSL_CERT_FILE is set for a leaf whose root is in the system's store, and for no other."""
    show = "import os; print(os.environ.get('SSL_CERT_FILE', '-') == os.environ['IOTEDGE_ROOT_CA_CERT_PATH'])"
    for name, expected in (("trusted-root-in-system-store", "True"), ("trusted-root-from-file", "False")):
        done = leafgate("up", "--mqtt-port", "0", "--scenario", name, "--", sys.executable, "-c", show)
        assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_state_keeps_certificates_and_leaves_between_runs(tmp_path: Path) -> None:
    """The second run serves the same root and knows the same key; keys are readable by their owner alone."""
    runs = []
    for number in range(2):
        path = tmp_path / f"{number}.json"
        with running(
            "up", "--mqtt-port", "0", "--state", tmp_path / "state", "--leaf", "a", "--ready-file", path
        ) as process:
            facts = ready(process, path)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        runs.append((Path(facts["root_ca"]).read_bytes(), facts["leaves"]))
    assert runs[0] == runs[1]
    keys = [file for file in (tmp_path / "state").rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
    assert keys
    assert {stat.S_IMODE(file.stat().st_mode) for file in keys} == {0o600}


def test_state_made_for_another_name_is_told(tmp_path: Path) -> None:
    """A changed host name with an old server certificate is said, and the old certificate is served."""
    state = tmp_path / "state"
    assert leafgate("up", "--mqtt-port", "0", "--state", state, "--hostname", "old.test", "--", "true").returncode == 0
    done = leafgate("up", "--mqtt-port", "0", "--state", state, "--hostname", "new.test", "--", "true")
    assert done.returncode == 0
    assert "was made for 'old.test', not for 'new.test'" in done.stderr


def test_busy_port_exits_3_with_a_hint() -> None:
    """A port in use is one line and a hint, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = leafgate("up", "--mqtt-port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (3, "")
    assert "leafgate: cannot listen on 127.0.0.1:" in done.stderr
    assert "  hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_busy_https_port_is_told_once_and_left_out(tmp_path: Path) -> None:
    """One line says what does not work and what to do; the rest works, and the ready file says null."""
    path = tmp_path / "ready.json"
    show = "import os; print(open(os.environ['LEAFGATE_READY']).read())"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ("up", "--mqtt-port", "0", "--ready-file", path)
        done = leafgate(*command, "--", sys.executable, "-c", show, env={"LEAFGATE_HTTPS_PORT": port})
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "HTTPS" in line]
    assert f"No HTTPS and no MQTT over WebSocket: cannot listen on 127.0.0.1:{port}: address already in use" in line
    assert "take another port (0 means any free one)" in line
    assert json.loads(done.stdout)["https_port"] is None


def test_guide_names_the_https_port(tmp_path: Path) -> None:
    """What is printed for people is what the ready file says."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--ready-file", path) as process:
        facts = ready(process, path)
        lines = iter(process.stdout.readline, "") if process.stdout else iter(())
        line = next(line for line in lines if line.startswith("  https "))
    assert line.split()[1] == f"127.0.0.1:{facts['https_port']}"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--hostname", "no host"], 3, "no host"),
        (["--device-ca-cn", "localhost"], 3, ".ca"),
        (["--hostname", "gw.test", "--connect-name", "GW.test.ca"], 3, "gw.test.ca"),
        (["--generation", "quickstart", "--defect", "missing-intermediate"], 3, "intermediate"),
        (["--defect", "expired-servr"], 2, "did you mean `expired-server`?"),
        (["--generation", "1.6"], 2, "1.5"),
        (["--tls", "2.0"], 2, "1.3"),
        (["--scenario", "cn-loop-without-key-id"], 2, "did you mean `cn-loop-without-key-ids`?"),
        (["--scenario", "tls"], 2, "choose one of them"),
        (["--leaf", "a b"], 2, "cannot be a device"),
        (["--sink", "flie:path=x"], 2, "did you mean file?"),
        (["--messages", "/"], 3, "cannot write /: Is a directory"),
        (["--mqtt-port", "70000"], 2, "65535"),
        (["--https-port", "70000"], 2, "65535"),
    ],
)
def test_wrong_option_is_one_line_with_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """Each wrong value is told without a traceback, and the exit code says whether it was usage or start."""
    done = inside(capsys, "up", "--mqtt-port", "0", "--https-port", "0", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_unreadable_key_in_the_state_exits_3(tmp_path: Path) -> None:
    """A damaged key file is named in one line."""
    state = tmp_path / "state"
    assert leafgate("up", "--mqtt-port", "0", "--state", state, "--", "true").returncode == 0
    key = next(file for file in state.rglob("*server*.key.pem"))
    key.write_text("no key")
    done = leafgate("up", "--mqtt-port", "0", "--state", state, "--", "true")
    assert done.returncode == 3
    assert key.name in done.stderr
    assert "Traceback" not in done.stderr


def test_cn_loop_is_built_on_request_and_says_who_refuses_it() -> None:
    """`--allow-cn-loop` goes on with a word about the stacks that refuse it."""
    arguments = ("--hostname", "gw.test", "--device-ca-cn", "gw.test", "--allow-cn-loop")
    today = leafgate("up", "--mqtt-port", "0", *arguments, "--", "true")
    assert today.returncode == 0
    assert "today's OpenSSL accepts this one" in today.stderr
    then = leafgate("up", "--mqtt-port", "0", *arguments, "--generation", "1.2", "--key", "ec", "--", "true")
    assert then.returncode == 0
    assert "refused by Python" in then.stderr


def test_options_come_from_the_environment_too() -> None:
    """Every long option has its LEAFGATE_ variable."""
    show = "import os; print(os.environ['IOTHUB_DEVICE_CONNECTION_STRING'])"
    variables = {"LEAFGATE_HOSTNAME": "gw.env.test", "LEAFGATE_MQTT_PORT": "0", "LEAFGATE_LEAF": "a b"}
    done = leafgate("up", "--", sys.executable, "-c", show, env=variables)
    assert done.returncode == 0, done.stderr
    assert "DeviceId=a;" in done.stdout
    assert done.stdout.strip().endswith("GatewayHostName=gw.env.test")


def test_seed_repeats_the_keys() -> None:
    """With a seed the connection strings are the same again."""
    show = "import os; print(os.environ['IOTHUB_DEVICE_CONNECTION_STRING'])"
    outputs = {
        leafgate("up", "--mqtt-port", "0", "--seed", "9", "--", sys.executable, "-c", show).stdout for _ in range(2)
    }
    assert len(outputs) == 1


def test_generations_of_the_command_are_those_of_certs() -> None:
    """The option offers exactly the generations that certs can make."""
    from certs import GENERATIONS

    assert {item.value for item in Generation} == set(GENERATIONS)


def test_every_setting_is_documented():
    """Name, default and description as the model has them."""
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        assert f"| `{name}` | {default} | {field.description} |" in text


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("strict", "'strict' is no setting", "write NAME=VALUE"),
        ("strikt=true", "there is no setting 'strikt'", "strict"),
        ("strict=perhaps", "strict=perhaps: input should be a valid boolean", "as IoT Hub and the specification do"),
        ("max-keep-alive=0", "max_keep_alive=0: input should be greater than 0", "cap of 1.5 x keep-alive"),
    ],
)
def test_setting_that_cannot_be_read(given, message, hint):
    """One line with what is wrong and one with what to write; exit code 2."""
    with pytest.raises(ScenariosError) as error:
        parse_settings([given])
    assert error.value.exit_code == 2
    assert message in error.value.message
    assert hint in error.value.hint


def test_settings_are_read():
    """Each value in its own type, dashes or underscores."""
    settings = parse_settings(["strict=true", "max-keep-alive=30", "durability=full"])
    assert (settings.strict, settings.max_keep_alive, settings.durability) == (True, 30.0, "full")
