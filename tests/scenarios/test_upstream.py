"""The link for those who write scenarios, tests and commands: steps, the fixture's handle, `leafgate up --upstream`."""

import json
import sys
from pathlib import Path

import pytest

from gateway.upstream.link import LinkState
from scenarios.errors import ScenarioFileError, ScenariosError
from scenarios.load import load
from scenarios.rig import GatewayHandle
from scenarios.runner import play
from scenarios.up import run_up
from scenarios.upoptions import Options
from tests.scenarios.command import leafgate


def scenario(folder: Path, *steps: str, head: str = "") -> Path:
    """A file with these steps."""
    path = folder / "mine.scenario.yaml"
    path.write_text("\n".join(["# A claim.", *([head] if head else []), "steps:", *(f"  - {one}" for one in steps)]))
    return path


@pytest.mark.parametrize(
    ("step", "place", "said"),
    [
        ("upstream: refusd", "3:15", "refused"),
        ("upstream: {sloww: {latency: 1s}}", "3:16", "did you mean `slow`?"),
        ("upstream: {slow: {latency: 3}}", "3:32", "3 is not a duration"),
        ("upstream: {state: up, unauthorized: a}", "3:15", "name one of `state`, `slow` and `unauthorized`"),
        ("upstream: {noticed: true}", "3:15", "name one of `state`, `slow` and `unauthorized`"),
        ("cloud: {to: a}", "3:12", "name one of `desired`, `message` and `method`"),
        ("expect: {got: {leaf: a}}", "3:19", "name `desired` or `message`"),
    ],
)
def test_mistake_in_a_step_is_answered_with_what_to_write(tmp_path, step, place, said):
    """At its place in the file."""
    with pytest.raises(ScenarioFileError) as wrong:
        load(scenario(tmp_path, step))
    assert f":{place}: " in wrong.value.message
    assert said in wrong.value.message


def test_setting_that_does_not_exist_is_named(tmp_path):
    """With the nearest one."""
    with pytest.raises(ScenarioFileError, match="did you mean `track_device_state`"):
        load(scenario(tmp_path, "connect: a", head="gateway: {settings: {track_device_stat: false}}"))


async def test_link_in_all_its_states_as_steps(tmp_path):
    """Each in the timeline as one would write it; a slow one takes its time on the gateway's clock."""
    path = scenario(
        tmp_path,
        "connect: a",
        "upstream: slow",
        "upstream: {slow: {latency: 500ms}}",
        "upstream: {slow: {latency: 10m}}",
        "publish: a",
        "expect: {arrived: {from: a, count: 0}}",
        "upstream: {unauthorized: [a, b]}",
        "upstream: {unauthorized: []}",
        "upstream: {state: dns-gone, noticed: true}",
        "upstream: up",
    )
    result = await play(load(path), seed=1)
    assert result.status == "passed", result.reason
    told = [row.text for row in result.rows if row.who == "upstream" and "message" not in row.text]
    assert told == [
        "slow, 1s",
        "slow, 500ms",
        "slow, 10m",
        "IoT Hub refuses a, b",
        "IoT Hub refuses nobody",
        "dns-gone, noticed",
        "up",
    ]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (["connect: a", "disconnect: a", "listen: a"], "a connected, got it is not; let it `connect` first"),
        (["connect: a", "{listen: a, expect: {desired: {x: 1}}}"], "desired properties {'x': 1}, got {}"),
        (["connect: a", "{cloud: {to: a, method: m}}"], "status 200, got 404"),
        (
            ["connect: a", "listen: a", "{expect: {got: {leaf: a, message: no}}, within: 100ms}"],
            "a to get message 'no' 1 time, got 0 of them",
        ),
    ],
)
async def test_claim_that_is_not_so_fails_with_what_was(tmp_path, steps, reason):
    """Expected and got."""
    result = await play(load(scenario(tmp_path, *steps)), seed=1)
    assert (result.status, reason in result.reason) == ("failed", True), result.reason


async def test_leaf_that_listens_gets_what_the_cloud_sends(tmp_path):
    """A desired change, a message, and a method, which it answers."""
    path = scenario(
        tmp_path,
        "connect: a",
        "listen: a",
        "cloud: {to: a, desired: {speed: 1}}",
        "expect: {got: {leaf: a, desired: {speed: 1}}}",
        "expect: {got: {leaf: a, desired: {speed: 2}, count: 0}}",
        "cloud: {to: a, message: go}",
        "expect: {got: {leaf: a, message: go}}",
        "cloud: {to: a, method: stop}",
        "{listen: a, expect: {desired: {speed: 1}}}",
    )
    result = await play(load(path), seed=1)
    assert result.status == "passed", result.reason


def test_fixture_switches_the_link(tmp_path):
    """From a test's own thread; whom IoT Hub refuses is replaced, not added to."""
    with GatewayHandle(tmp_path / "state") as gateway:
        press = gateway.leaf("press")
        with press.device() as device:
            gateway.upstream.link.switch("refused")
            assert gateway.upstream.link.state is LinkState.REFUSED
            device.send("waits")
            assert gateway.upstream.messages == ()
            gateway.upstream.link.switch("up", noticed=True)
            assert gateway.upstream.next_message(press).body == b"waits"
            gateway.upstream.link.refuse(press)
            device.send("lost")
            gateway.upstream.link.refuse()
            device.send("arrives")
            assert gateway.upstream.next_message(press).body == b"arrives"
        with pytest.raises(ValueError, match="sideways"):
            gateway.upstream.link.switch("sideways")


@pytest.mark.parametrize(
    ("given", "said"),
    [("refusd", "did you mean `refused`?"), ("slow:3", "as in slow:2s"), ("slow:", "as in slow:2s")],
)
def test_up_refuses_a_state_that_does_not_exist(given, said):
    """Before anything is started."""
    with pytest.raises(ScenariosError) as wrong:
        run_up(Options(upstream=given))
    assert said in (wrong.value.hint or "")


def test_up_starts_with_the_link_as_told():
    """The command that is run finds it so, over the gateway's own interface."""
    ask = (
        "import json, os, urllib.request as u;"
        "facts = json.load(open(os.environ['LEAFGATE_READY']));"
        "print(u.urlopen(facts['admin_url'] + '/api/v1/link').read().decode())"
    )
    ports = [f"--{name}-port=0" for name in ("mqtt", "https", "hub", "metrics", "admin")]
    done = leafgate("up", *ports, "--upstream", "slow:500ms", "--", sys.executable, "-c", ask)
    found = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    assert (found.get("state"), found.get("latency")) == ("slow", 0.5), done.stderr
