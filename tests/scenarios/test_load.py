"""Reading scenario files: every mistake at its place, with what to write instead."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

import pytest

from scenarios import catalogue
from scenarios.errors import ScenarioFileError
from scenarios.load import load
from scenarios.model import Loaded
from scenarios.steps.connect import Connect
from scenarios.steps.publish import Publish

GOOD = "# A leaf connects.\nsteps:\n  - connect: press-7\n"


def read(folder: Path, text: str) -> Loaded:
    """Load the text as a file."""
    path = folder / "mine.scenario.yaml"
    path.write_text(textwrap.dedent(text))
    return load(path)


def problems(folder: Path, text: str) -> list[str]:
    """What is said about the text, as `line:column: what`."""
    with pytest.raises(ScenarioFileError) as caught:
        read(folder, text)
    prefix = f"{folder / 'mine.scenario.yaml'}:"
    lines = caught.value.message.splitlines()
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


def test_scenario_of_three_lines_has_defaults_for_all_the_rest(tmp_path: Path) -> None:
    """A claim and one step are enough: the gateway and the leaf come from the defaults."""
    loaded = read(tmp_path, GOOD)
    assert loaded.claim == "A leaf connects."
    assert loaded.name == "mine"
    assert loaded.scenario.gateway.hostname == "localhost"
    assert loaded.scenario.gateway.generation == "documented"
    assert loaded.scenario.leaf("press-7").trust == "root"
    step = loaded.scenario.steps[0]
    assert isinstance(step, Connect)
    assert step.expect.connected


def test_plain_words_stand_for_mappings(tmp_path: Path) -> None:
    """`expect: refused`, `publish: LEAF`, a single defect and a single address need no braces."""
    loaded = read(
        tmp_path,
        """\
        # A claim.
        gateway: {defects: missing-intermediate, ip_san: 127.0.0.1, tls: "1.2"}
        steps:
          - connect: press-7
            expect: refused
          - publish: press-7
        """,
    )
    connect, publish = loaded.scenario.steps
    assert isinstance(connect, Connect)
    assert isinstance(publish, Publish)
    assert connect.expect.refused is not None
    assert publish.publish.from_ == "press-7"
    assert loaded.scenario.gateway.defects == ["missing-intermediate"]
    assert loaded.scenario.gateway.ip_san == ["127.0.0.1"]
    assert loaded.scenario.gateway.tls == ["1.2"]


def test_all_mistakes_of_a_file_come_at_once_at_their_places(tmp_path: Path) -> None:
    """Misspelt keys and words, wrong values, unknown leaves and duplicates are told together, in order."""
    text = """\
        # A claim.
        gateway:
          hostname: gw.factory.test
          generation: "1.6"
          defects: [expired-servr]
        leaves:
          press-7: {trust: root, stak: paho}
        steps:
          - connect: press-7
            expect:
              refused: {by: leaf, verify_kode: 18, connack: 9}
              gateway_saw: {alert: unknown_cert}
              stacks: {gnutl: connected, go: conected}
          - publisch: press-7
          - publish: {from: press-7, count: x}
          - expect: {arrived: {from: press-7}, within: 30}
          - expect: {}
          - connect: press-7
            expect: conected
        stepz: 1
        cause: one
        cause: two
        """
    assert problems(tmp_path, text) == [
        '4:15: generation "1.6" does not exist; '
        "one of documented, 1.0.3, 1.0.4, 1.1, 1.2, 1.3, 1.5, quickstart, certgen",
        '5:13: defect "expired-servr" does not exist; did you mean `expired-server`?',
        "7:26: `stak` is not known here; did you mean `stack`?",
        "11:27: `verify_kode` is not known here; did you mean `verify_code`?",
        "11:53: `connack` should be less than or equal to 5",
        '12:28: alert "unknown_cert" does not exist; did you mean `unknown_ca`?',
        '13:23: TLS stack "gnutl" does not exist; did you mean `gnutls`?',
        "13:38: `conected` is not known here; did you mean `connected`?",
        "14:5: there is no step `publisch`; did you mean `publish`?",
        "15:37: write a whole number instead of 'x'",
        "16:48: 30 is not a duration; write a number with its unit: 500ms, 30s, 5m, 2h or 1d",
        "17:13: nothing is expected here; write `arrived`, `connected`, `disconnected`, `got` or `log`",
        "19:13: `conected` is not known here; did you mean `connected`?",
        "20:1: `stepz` is not known here; did you mean `steps`?",
        "22:1: `cause` is already given in line 21; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", ["1:1: the first line must be", "1:1: a scenario is a mapping"], id="empty"),
        pytest.param("steps: [{connect: a}]\n", ["1:1: the first line must be a comment that states"], id="no-claim"),
        pytest.param("#\nsteps: [{connect: a}]\n", ["1:1: the first line must be a comment"], id="empty-claim"),
        pytest.param("# C.\n- a\n", ["1:1: a scenario is a mapping; it needs at least `steps:`"], id="list"),
        pytest.param("# C.\nstory: x\n", ["2:1: `steps` is missing here; add it"], id="no-steps"),
        pytest.param("# C.\nsteps: []\n", ["2:8: it is empty; write at least one"], id="empty-steps"),
        pytest.param("# C.\nsteps: [\n", ["3:1: this is not YAML: "], id="not-yaml"),
        pytest.param("# C.\nsteps:\n\t- a\n", ["3:1: this is not YAML: "], id="tab"),
        pytest.param("# C.\nsteps: [{connect: !!python/name:os.system a}]\n", ["2:19: the tag "], id="tag"),
        pytest.param("# C.\nsteps: &s [*s]\n", ["nested too deeply; is there an anchor"], id="anchor-in-itself"),
        pytest.param(
            "# C.\ngateway: {generation: 1.2}\nsteps: [{connect: a}]\n",
            ['2:23: 1.2 is read as a number here; write "1.2" in quotes'],
            id="version-as-number",
        ),
        pytest.param(
            "# C.\nleaves: {a: {}}\nsteps: [{connect: b}]\n",
            ["3:19: there is no leaf `b`; one of a"],
            id="no-such-leaf",
        ),
        pytest.param(
            "# C.\nleaves: {a: {stack: python}}\nsteps: [{connect: a}, {publish: a}]\n",
            ["3:33: `a` only does TLS with stack python; give it `stack: paho` to speak MQTT"],
            id="stack-without-mqtt",
        ),
        pytest.param(
            "# C.\nleaves: {a: {trust: system}}\nsteps: [{connect: a}, {publish: a}]\n",
            ["3:33: `a` connects in a process of its own and ends; give it `trust: root` to go on"],
            id="process-that-ended",
        ),
        pytest.param(
            "# C.\nleaves: {a: {trust: system, stack: python}}\n"
            "steps: [{connect: a, expect: {stacks: {go: refused}}}]\n",
            ["2:36: a leaf with `trust: system` has", "3:39: `a` has a system store of its own"],
            id="stacks-have-no-store",
        ),
        pytest.param(
            "# C.\nleaves: {a: {trust: rooot}}\nsteps: [{connect: a}]\n",
            ['2:21: trust "rooot" is no file beside this one; did you mean `root`?'],
            id="trust",
        ),
        pytest.param(
            "# C.\nsteps: [{clock: 1h}, {connect: a}]\n",
            ["2:17: the clock moves forth or back; write a duration with its sign: +1h or -1h"],
            id="clock",
        ),
        pytest.param("# C.\nsteps: [{connect: !!int x}]\n", ["2:19: 'x' cannot be read"], id="tag-that-lies"),
        pytest.param("# C.\na: " + "[" * 60 + "]" * 60, ["2:44: too large or nested too deeply"], id="brackets"),
        pytest.param(
            "# C.\na: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
            "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
            ["too large"],
            id="laughs",
        ),
        pytest.param(
            "# C.\ngateway: {intermediates: 1000000}\nsteps: [{connect: a}]\n",
            ["2:26: write how many (at most 20), or a list of common names"],
            id="too-many",
        ),
        pytest.param("# C.\nsteps: [{clock: +1h}]\n", ["2:8: nobody connects in these steps"], id="nobody"),
        pytest.param(
            "# C.\nleaves: {a: x}\nsteps: [{connect: a}]\n",
            ["2:13: `a` takes keys of its own here: trust, "],
            id="no-mapping",
        ),
        pytest.param(
            "# C.\nsteps: [{connect: a, expect: {connected: true, refused: {}}}]\n",
            ["2:30: a leaf cannot be `connected` and `refused` at once"],
            id="both",
        ),
    ],
)
def test_wrong_file_gets_a_helping_answer(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each kind of mistake is told at its place with what to write instead."""
    found = problems(tmp_path, text)
    assert len(found) >= len(expected)
    for beginning in expected:
        assert any(beginning in line for line in found), found


def test_file_that_is_not_there_is_a_problem_of_that_file(tmp_path: Path) -> None:
    """A missing file is told like any other mistake, without a traceback."""
    with pytest.raises(ScenarioFileError, match=r"no\.scenario\.yaml:1:1: cannot be read: no such file"):
        load(tmp_path / "no.scenario.yaml")


def test_file_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    """Another encoding is named as the reason."""
    path = tmp_path / "latin.scenario.yaml"
    path.write_bytes("# Größe.\n".encode("latin-1"))
    with pytest.raises(ScenarioFileError, match="not UTF-8"):
        load(path)


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    """`no` and `on` are words, not booleans, as in YAML 1.2."""
    loaded = read(tmp_path, "# C.\nleaves: {no: {}, on: {}}\nsteps: [{connect: no}, {connect: on}]\n")
    assert loaded.scenario.leaf_names == ("no", "on")


def test_damaged_files_are_told_and_never_crash(tmp_path: Path) -> None:
    """Whatever a shipped file is turned into by random edits, it loads or its mistakes have places."""
    rng = random.Random(5)
    texts = [path.read_text() for path in catalogue.names().values()]
    path = tmp_path / "damaged.scenario.yaml"
    told: list[ScenarioFileError] = []
    for _ in range(200):
        letters = list(rng.choice(texts))
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(letters))
            letters[place : place + rng.randrange(4)] = rng.choice(":-{}[]#&*!|>%@`\"'\n\t ,?0~\x01é")
        path.write_text("".join(letters))
        try:
            load(path)
        except ScenarioFileError as wrong:
            told.append(wrong)
    assert len(told) > 100
    assert all(problem.line >= 1 and problem.column >= 1 for wrong in told for problem in wrong.problems)
    assert all(len(wrong.message.splitlines()) == len(wrong.problems) for wrong in told)
