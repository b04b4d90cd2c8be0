"""The pytest plugin as a user has it: fixtures, collected scenario files, and many workers at once."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PASSING = "# A leaf connects.\nsteps: [{connect: press-7}]\n"
FAILING = "# A leaf connects.\ngateway: {defects: expired-server}\nsteps: [{connect: press-7}]\n"
DEVICE = """
    import json, os
    from leafsim import Device

    ready = json.load(open(os.environ["LEAFGATE_READY"]))
    text = os.environ["IOTHUB_DEVICE_CONNECTION_STRING"]
    with Device(text, trust=os.environ["IOTEDGE_ROOT_CA_CERT_PATH"], port=ready["mqtt_port"]) as device:
        device.send({"temperature": 21})
"""
TESTS = """
    import os, subprocess, sys

    def test_device_reports_temperature(gateway):
        press = gateway.leaf("press-7")
        device = [sys.executable, "my_device.py"]
        subprocess.run(device, env=os.environ | press.environment(), check=True, timeout=60)
        assert gateway.upstream.next_message(press, timeout=10).json()["temperature"] > 0

    def test_simulated_leaf(gateway, leaf):
        with leaf.device() as device:
            device.send({"n": 1})
        assert gateway.upstream.next_message(leaf).json() == {"n": 1}
        assert [message.device_id for message in gateway.upstream.messages] == ["leaf-1"]
        assert [type(event).__name__ for event in gateway.events][:1] == ["ClientConnected"]

    def test_two_gateways(gateway_factory):
        one = gateway_factory(hostname="one.test")
        two = gateway_factory(hostname="two.test", generation="1.5", key="ec")
        assert len({one.mqtt_port, two.mqtt_port, one.https_port, two.https_port}) == 4
        assert one.root_ca != two.root_ca
        for gateway in (one, two):
            with gateway.leaf("press-7").device() as device:
                device.send({"to": gateway.hostname})
            assert gateway.upstream.next_message("press-7").json() == {"to": gateway.hostname}
        assert len(one.upstream.messages) == len(two.upstream.messages) == 1
"""


def lay_out(pytester: pytest.Pytester) -> None:
    """A user's project with tests and scenarios."""
    pytester.makepyfile(test_mine=TESTS, my_device=DEVICE)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    (pytester.path / "good.scenario.yaml").write_text(PASSING)


def test_fixtures_and_collected_files_pass(pytester: pytest.Pytester) -> None:
    """The fixture, the factory and a scenario file work in a project that only has leafgate installed."""
    lay_out(pytester)
    result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*good.scenario.yaml::good PASSED*"])


def test_fixtures_are_safe_under_xdist(pytester: pytest.Pytester) -> None:
    """Several workers, each with its own gateways, do not meet."""
    lay_out(pytester)
    pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_scenario_that_fails_is_shown_as_the_text_report(pytester: pytest.Pytester) -> None:
    """A failing file shows what happened, expected and got, why, the fix and the seed, and no Python."""
    (pytester.path / "bad.scenario.yaml").write_text(FAILING)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ bad _*",
            "✗ bad*",
            "*press-7*TLS: certificate has expired (10)*",
            "*expected connected, got refused by leaf: TLS: certificate has expired (10)*",
            "*why*expired*",
            "*repeat with LEAFGATE_SEED=*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "runtest" not in result.stdout.str()


def test_scenario_that_is_wrong_is_shown_with_its_position(pytester: pytest.Pytester) -> None:
    """A file that cannot be played fails with FILE:LINE:COLUMN and what to write instead."""
    (pytester.path / "wrong.scenario.yaml").write_text("# A leaf connects.\nsteps: [{conect: press-7}]\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*wrong.scenario.yaml:2:9: there is no step `conect`; did you mean `connect`?"])


def test_seed_comes_from_the_environment(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEAFGATE_SEED repeats a run: the report names that very seed."""
    monkeypatch.setenv("LEAFGATE_SEED", "4711")
    (pytester.path / "bad.scenario.yaml").write_text(FAILING)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout.fnmatch_lines(["*repeat with LEAFGATE_SEED=4711*"])


def test_waiting_for_a_message_that_does_not_come_says_what_came(pytester: pytest.Pytester) -> None:
    """The fixture's time-out tells which leaves were heard from."""
    pytester.makepyfile(
        """
        import pytest

        def test_nothing(gateway):
            with pytest.raises(TimeoutError, match="no message from press-7 arrived .* 0.2 s; none came at all"):
                gateway.upstream.next_message(gateway.leaf("press-7"), timeout=0.2)
            with gateway.leaf("oven-2").device() as device:
                device.send({})
            with pytest.raises(TimeoutError, match="1 came before, from oven-2"):
                gateway.upstream.next_message("press-7", timeout=0.2)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
