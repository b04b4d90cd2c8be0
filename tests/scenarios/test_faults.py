"""Faults for those who write scenarios and commands: the step, `leafgate faults`, `leafgate up --fault`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.faults import FAULTS
from leafsim import ConnackRefused, Device, Unreachable
from scenarios.errors import ScenarioFileError
from scenarios.load import load
from scenarios.rig import GatewayHandle
from scenarios.runner import play
from tests.scenarios.command import leafgate, running
from tests.scenarios.test_up import connect_to, ready


def scenario(folder: Path, *steps: str) -> Path:
    """A file with these steps."""
    path = folder / "mine.scenario.yaml"
    path.write_text("\n".join(["# A leaf does something.", "steps:", *(f"  - {step}" for step in steps)]) + "\n")
    return path


async def test_step_switches_on_and_off(tmp_path: Path) -> None:
    """A fault lasts from its step to `off`; the leaf sees it, and the timeline tells of it."""
    path = scenario(
        tmp_path,
        "fault: {connack: {code: 3}}",
        "{connect: a, expect: {refused: {by: gateway, connack: 3}}}",
        "fault: {off: connack}",
        "connect: a",
        "fault: refuse",
        "{connect: b, expect: {refused: {class: unreachable, message: refused}}}",
        "fault: off",
        "connect: b",
    )
    result = await play(load(path), seed=1)
    assert (result.status, result.reason) == ("passed", "")
    told = [row.text for row in result.rows if row.who == "fault"]
    assert told == ["connack:code=3", "connack off", "refuse", "all off"]


async def test_fault_that_is_still_on_makes_the_claim_fail(tmp_path: Path) -> None:
    """Without `off` the leaf is refused again, and the report says what it got."""
    path = scenario(tmp_path, "fault: {connack: {code: 3}}", "connect: a")
    result = await play(load(path), seed=1)
    assert result.status == "failed"
    assert "CONNACK 3" in str(result.got)


@pytest.mark.parametrize(
    ("step", "where", "what"),
    [
        ("fault: refus", "3:12", "`refus` is not known here; did you mean `refuse`?"),
        ("fault: {dely: {seconds: 1}}", "3:13", "`dely` is not known here; did you mean `delay`?"),
        ("fault: {delay: {secs: 1, seconds: 1}}", "3:21", "`secs` is not known here; did you mean `seconds`?"),
        ("fault: delay", "3:12", "`seconds` is missing here; add it"),
        ("fault: {delay: {seconds: -1}}", "3:30", "`seconds` should be greater than or equal to 0"),
        ("fault: {off: delya}", "3:18", 'fault "delya" does not exist; did you mean `delay`?'),
        ("fault: {refuse: {}, silent: {}}", "3:12", "name one fault here, or `off`; several faults are several steps"),
    ],
)
def test_mistake_in_a_step_has_its_place(tmp_path: Path, step: str, where: str, what: str) -> None:
    """Line, column, and what to write instead."""
    with pytest.raises(ScenarioFileError) as wrong:
        load(scenario(tmp_path, step, "connect: a"))
    assert f"mine.scenario.yaml:{where}: {what}" in wrong.value.message


def test_faults_lists_the_catalogue() -> None:
    """Every fault with its sentence and its parameters."""
    done = leafgate("faults")
    assert done.returncode == 0
    for kind in FAULTS.values():
        assert f"{kind.name}: {kind.__doc__}" in done.stdout
    assert "  code              the code; MQTT 3.1.1 knows 1 to 5 (needed)" in done.stdout


def test_up_has_the_faults_it_is_given(tmp_path: Path) -> None:
    """Both faults are there from the start: the first CONNECT is refused, the second one is not."""
    path = tmp_path / "ready.json"
    given = ("--fault", "connack:code=3,connections=1", "--fault", "delay:seconds=0.001")
    with running("up", "--mqtt-port", "0", "--leaf", "dev1", *given, "--ready-file", path) as process:
        facts = ready(process, path)
        for expected in (ConnackRefused, None):
            device = Device(
                facts["leaves"]["dev1"],
                trust=Path(facts["root_ca"]),
                port=facts["mqtt_port"],
                connect_to=connect_to(facts),
            )
            if expected:
                with pytest.raises(expected, match="CONNACK 3"):
                    device.connect()
            else:
                with device:
                    device.send({"n": 1})


def test_up_refuses_a_fault_that_does_not_exist() -> None:
    """Exit code 2, the nearest one named, no traceback."""
    for given, said in (
        ("dely:seconds=1", "leafgate: fault 'dely' does not exist\n  hint: did you mean delay?\n"),
        ("delay:secs=1", "leafgate: fault delay has no parameter 'secs'\n  hint: did you mean seconds?\n"),
    ):
        done = leafgate("up", "--fault", given)
        assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("given", [(), ("--fault-injection",)], ids=["off", "on"])
def test_up_obeys_fault_messages_when_asked_to(tmp_path: Path, given: tuple[str, ...]) -> None:
    """A device that asks to be shut down is, and only with the option."""
    path = tmp_path / "ready.json"
    with running("up", "--mqtt-port", "0", "--leaf", "dev1", *given, "--ready-file", path) as process:
        facts = ready(process, path)
        with Device(
            facts["leaves"]["dev1"], trust=Path(facts["root_ca"]), port=facts["mqtt_port"], connect_to=connect_to(facts)
        ) as device:
            device.send("guid", {"AzIoTHub_FaultOperationType": "ShutDownMqtt"})
            if given:
                assert device.wait_disconnected(20) == "the gateway closed the connection"
            else:
                device.send({"n": 1})
        log = _log_of(process)
    assert ("Fault injection asked for by dev1: ShutDownMqtt" in log) == bool(given)


def _log_of(process: subprocess.Popen[str]) -> str:
    process.terminate()
    return process.communicate(timeout=30)[1]


def test_sync_tests_switch_faults_by_the_handle(tmp_path: Path) -> None:
    """`gateway.faults` of the fixtures: on, off, and everything off."""
    with GatewayHandle(tmp_path) as gateway:
        leaf = gateway.leaf("dev1")
        handle = gateway.faults.add("refuse")
        with pytest.raises(Unreachable, match="connection refused"):
            leaf.device().connect()
        gateway.faults.remove(handle)
        with leaf.device() as device:
            device.send({"n": 1})
        gateway.faults.add("connack", code=2)
        gateway.faults.add("delay", seconds=0.001)
        assert [one.name for one in gateway.faults.active] == ["connack", "delay"]
        with pytest.raises(ConnackRefused, match="CONNACK 2"):
            leaf.device().connect()
        gateway.faults.clear()
        with leaf.device() as device:
            device.send({"n": 2})
    assert json.loads(gateway.upstream.messages[-1].body) == {"n": 2}
