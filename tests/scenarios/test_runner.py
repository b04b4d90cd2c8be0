"""Playing scenarios: what comes out when a claim is true, and when it is not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from scenarios.arrivals import in_order
from scenarios.load import load
from scenarios.reports.text import Style, scenario
from scenarios.results import Result
from scenarios.runner import play, play_all

PLAIN = Style(colour=False, width=100)


async def played(folder: Path, text: str, *, seed: int = 1) -> Result:
    """Play the text as a scenario."""
    path = folder / "mine.scenario.yaml"
    path.write_text("# A claim.\n" + textwrap.dedent(text))
    return await play(load(path), seed=seed)


async def test_true_claim_passes_with_what_happened_in_its_timeline(tmp_path: Path) -> None:
    """A scenario that comes out as expected has no reason, and tells the gateway's and the leaf's side."""
    result = await played(tmp_path, "steps: [{connect: press-7}]\n")
    assert (result.status, result.reason) == ("passed", "")
    assert [row.who for row in result.rows][:1] == ["gateway"]
    assert ("press-7", "connected") in {(row.who, row.text) for row in result.rows}
    assert [row.at for row in result.rows] == sorted(row.at for row in result.rows)


async def test_refusal_where_a_connection_was_claimed_fails_with_cause_and_fix(tmp_path: Path) -> None:
    """The report of a failing run shows expected and got, and finds the missing certificate by itself."""
    result = await played(tmp_path, "gateway: {defects: missing-intermediate}\nsteps: [{connect: press-7}]\n")
    assert result.status == "failed"
    assert result.step == "step 1 (connect press-7)"
    assert result.expected == "connected"
    assert result.got == "refused by leaf: TLS: unable to get local issuer certificate (20)"
    assert "Azure IoT Hub Intermediate Cert Test Only" in result.why
    assert result.fix
    text = "\n".join(scenario(result, PLAIN, verbose=False))
    assert text.startswith("✗ mine")
    assert "intermediate left out" in text
    assert "expected connected, got refused by leaf" in text
    assert "   why   " in text
    assert "   fix   " in text


async def test_wrong_root_where_a_connection_was_claimed_is_told_from_a_broken_chain(tmp_path: Path) -> None:
    """The diagnosis looks at what the leaf really trusts, not at what it should."""
    result = await played(tmp_path, "leaves: {press-7: {trust: other-root}}\nsteps: [{connect: press-7}]\n")
    assert result.status == "failed"
    assert "root" in result.why


async def test_connection_where_a_refusal_was_claimed_fails(tmp_path: Path) -> None:
    """A leaf that gets in although the file says it does not is a failure, not a success."""
    result = await played(tmp_path, "steps: [{connect: press-7, expect: refused}]\n")
    assert (result.status, result.expected, result.got) == ("failed", "refused", "connected")


@pytest.mark.parametrize(
    ("expect", "expected"),
    [
        ("{refused: {by: leaf, verify_code: 18}}", "refused by leaf (18)"),
        ("{refused: {by: gateway}}", "refused by gateway"),
        ("{refused: {message: has expired}}", "refused 'has expired'"),
        ("{refused: {connack: 5}}", "refused CONNACK 5"),
        ("{refused: {class: unreachable}}", "refused class unreachable"),
        (
            "{refused: {by: leaf}, gateway_saw: {alert: bad_certificate}, within: 300ms}",
            "the gateway to see alert bad_certificate",
        ),
        ("{refused: {by: leaf}, gateway_saw: {code: 5}, within: 300ms}", "the gateway to see CONNACK 5"),
        ("{refused: {by: leaf}, log: Cheese, within: 300ms}", "the gateway to log 'Cheese'"),
        ("{refused: {by: leaf}, stacks: {python: connected}}", "python connected"),
        ("{refused: {by: leaf}, stacks: {python: {refused: {verify_code: 18}}}}", "python refused (18)"),
    ],
)
async def test_refusal_of_another_kind_than_claimed_fails(tmp_path: Path, expect: str, expected: str) -> None:
    """Who refused, with which code and words, and what the gateway saw are each held against the file."""
    text = f"gateway: {{defects: missing-intermediate}}\nsteps: [{{connect: press-7, expect: {expect}}}]\n"
    result = await played(tmp_path, text)
    assert (result.status, result.expected) == ("failed", expected)


@pytest.mark.parametrize(
    ("expect", "got"),
    [
        ("{arrived: {from: press-7, count: 3}, within: 300ms}", "2 arrived"),
        ("{arrived: {from: press-7, count: 1}}", "2 arrived"),
        ("{arrived: {from: press-7, count: 2, body: {t: 2}}}", "body {'t': 1}"),
        ("{arrived: {from: press-7, count: 2, properties: {unit: F}}}", "properties {'unit': 'C'}"),
        ("{arrived: {count: 2, duplicates: 1}}", "0 duplicates"),
        ("{acknowledged: 1}", "2"),
    ],
)
async def test_telemetry_other_than_claimed_fails(tmp_path: Path, expect: str, got: str) -> None:
    """Count, body, properties, duplicates and acknowledgements are each held against the file."""
    send = "{from: press-7, count: 2, body: {t: 1}, properties: {unit: C}}"
    text = f"steps:\n  - connect: press-7\n  - publish: {send}\n    expect: {expect}\n"
    result = await played(tmp_path, text)
    assert (result.status, result.got) == ("failed", got)


async def test_telemetry_as_claimed_passes(tmp_path: Path) -> None:
    """The twin of the above: all of it together, as it really is."""
    text = """\
        steps:
          - connect: press-7
          - publish: {from: press-7, count: 2, body: {t: 1}, properties: {unit: C}}
            expect:
              acknowledged: 2
              arrived: {from: press-7, count: 2, body: {t: 1}, properties: {unit: C}, order: kept, duplicates: 0}
          - expect: {connected: press-7, log: New device connection}
          - disconnect: press-7
          - publish: press-7
            expect: {acknowledged: 0}
        """
    result = await played(tmp_path, text)
    assert (result.status, result.reason) == ("passed", "")


def test_order_is_kept_per_leaf() -> None:
    """Messages of two leaves may interleave; those of one may not change places."""
    sent = [["a-1", "a-2"], ["b-1", "b-2"]]
    assert in_order(["b-1", "a-1", "a-2", "b-2"], sent)
    assert not in_order(["a-2", "b-1", "a-1", "b-2"], sent)


async def test_leaf_that_is_not_connected_is_not_taken_for_connected(tmp_path: Path) -> None:
    """`connected: LEAF` is about now: after a goodbye it fails."""
    text = "steps: [{connect: a}, {disconnect: a}, {expect: {connected: a}, within: 300ms}]\n"
    result = await played(tmp_path, text)
    assert (result.status, result.step, result.got) == ("failed", "step 3 (expect connected)", "it is not")


async def test_clock_moves_the_hub_and_not_the_leaf(tmp_path: Path) -> None:
    """Two hours later on the gateway's clock, an hour's token is refused; when time passes for all it is not."""
    expired = "{refused: {connack: 5}, gateway_saw: {reason: expired}}"
    refused = f"steps: [{{clock: {{gateway: +2h}}}}, {{connect: a, expect: {expired}}}]\n"
    assert (await played(tmp_path, refused)).status == "passed"
    assert (await played(tmp_path, "steps: [{clock: +2h}, {connect: a}]\n")).status == "passed"


@pytest.mark.parametrize(
    ("clock", "outcome"),
    [
        ("+31d", "{verify_code: 10}"),
        ("-2d", "{verify_code: 9}"),
        ("{everybody: -2d}", "{verify_code: 9}"),
        ("{gateway: +31d}", "{connack: 5}"),  # the leaf's certificates are good by its own clock, its token is not
    ],
)
async def test_time_that_passes_is_seen_by_the_leafs_tls(tmp_path: Path, clock: str, outcome: str) -> None:
    """Certificates end, or have not begun, for a real handshake; a clock set at the gateway alone is not seen."""
    text = (
        f"gateway: {{renewal: missed}}\nsteps: [{{clock: {clock}}}, {{connect: a, expect: {{refused: {outcome}}}}}]\n"
    )
    result = await played(tmp_path, text)
    assert result.status == "passed", result.got


async def test_leafs_own_root_ages_with_it(tmp_path: Path) -> None:
    """A server certificate that is renewed does not help a leaf whose root has ended."""
    text = """\
        gateway: {generation: "1.1", key: ec, days: 10}
        steps:
          - clock: +11d
          - connect: a
            expect: {refused: {verify_code: 10}}
        """
    result = await played(tmp_path, text)
    assert result.status == "passed", result.got


async def test_restart_needs_a_ca_of_the_daemon_to_renew_it(tmp_path: Path) -> None:
    """A device CA from a file is renewed by nobody; the scenario says so instead of being played on."""
    result = await played(tmp_path, "steps: [{connect: a}, {certificates: {renew: device-ca}}]\n")
    assert (result.status, result.step) == ("error", "step 2 (certificates: renew device-ca)")
    assert "no device CA that was configured as a file" in result.reason


async def test_leaf_that_is_not_gone_is_told(tmp_path: Path) -> None:
    """`disconnected` waits for the end of a connection, and says that there was none."""
    text = "steps: [{connect: a}, {expect: {disconnected: a}, within: 300ms}]\n"
    result = await played(tmp_path, text)
    assert (result.status, result.step, result.got) == ("failed", "step 2 (expect disconnected)", "it is")


async def test_trust_from_a_file_beside_the_scenario(tmp_path: Path) -> None:
    """A PEM file's name as `trust` is looked for beside the scenario; another root is refused."""
    from certs import Authority

    (tmp_path / "mine.pem").write_bytes(Authority(hostname="other.test").chain().trust_pem)
    result = await played(tmp_path, "leaves: {a: {trust: mine.pem}}\nsteps: [{connect: a, expect: refused}]\n")
    assert result.status == "passed"


async def test_module_connects_with_its_own_identity(tmp_path: Path) -> None:
    """A leaf may be a module of a device."""
    text = """\
        leaves: {filter: {device_id: press-7, module_id: filter}}
        steps:
          - connect: filter
          - publish: filter
            expect: {arrived: {from: filter}}
        """
    result = await played(tmp_path, text)
    assert (result.status, result.reason) == ("passed", "")


async def test_impossible_chain_is_an_error_and_not_a_failure(tmp_path: Path) -> None:
    """A scene that cannot be built is status `error` with the reason, and no traceback."""
    result = await played(tmp_path, "gateway: {hostname: 'no host'}\nsteps: [{connect: a}]\n")
    assert result.status == "error"
    assert "no host" in result.reason


async def test_same_seed_gives_the_same_certificates_and_keys(tmp_path: Path) -> None:
    """With one seed serials, keys and connection strings repeat; with another they do not."""
    from scenarios.stage import Stage

    path = tmp_path / "mine.scenario.yaml"
    path.write_text("# A claim.\nsteps: [{connect: a}]\n")

    async def scene(seed: int) -> tuple[bytes, str]:
        async with Stage(load(path), seed=seed, folder=tmp_path) as stage:
            return stage.gateway.chain.sent_pem, str(stage.actor("a").connection)

    first, again, other = await scene(7), await scene(7), await scene(8)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


async def test_run_keeps_the_order_of_its_scenarios_whatever_ends_first(tmp_path: Path) -> None:
    """Results come in the order given, also when several play at once."""
    loaded = []
    for number in range(6):
        path = tmp_path / f"s{number}.scenario.yaml"
        path.write_text("# A claim.\nsteps: [{connect: a}]\n")
        loaded.append(load(path))
    told: list[str] = []
    run = await play_all(loaded, seed=1, jobs=3, each=lambda result: told.append(result.name))
    assert [result.name for result in run.results] == told == [f"s{number}" for number in range(6)]
    assert run.exit_code == 0


async def test_secrets_are_in_no_report(tmp_path: Path) -> None:
    """Neither keys nor signatures get into what is reported."""
    from scenarios.reports import json, junit
    from scenarios.results import Run
    from scenarios.stage import Stage

    result = await played(tmp_path, "leaves: {a: {key: wrong}}\nsteps: [{connect: a}]\n")
    assert result.status == "failed"
    run = Run(1, (result,), 0.1)
    texts = [*scenario(result, PLAIN, verbose=True), json.render(run), junit.render(run), repr(result)]
    async with Stage(load(tmp_path / "mine.scenario.yaml"), seed=1, folder=tmp_path) as stage:
        registered = stage.gateway.registry.get("a")
        assert registered is not None
        keys = [stage.actor("a").connection.shared_access_key, registered.primary_key]
    for text in texts:
        assert "sig=" not in text
        assert not [key for key in keys if str(key) in text]
