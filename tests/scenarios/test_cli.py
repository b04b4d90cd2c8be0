"""`leafgate run | validate | list | schema` as a user sees them: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scenarios import catalogue
from scenarios.errors import UnknownScenarioError
from tests.scenarios.command import inside, leafgate

PASSING = "# A leaf connects.\nsteps: [{connect: press-7}]\n"
FAILING = "# A leaf connects.\ngateway: {defects: expired-server}\nsteps: [{connect: press-7}]\n"
WRONG = "# A leaf connects.\nsteps: [{conect: press-7}]\n"


def write(folder: Path, name: str, text: str) -> Path:
    """A scenario file."""
    path = folder / f"{name}.scenario.yaml"
    path.write_text(text)
    return path


def test_run_of_library_names_passes_and_writes_reports(tmp_path: Path) -> None:
    """Names of the shipped library work; both reports are written; the seed is in the output."""
    report, junit = tmp_path / "out" / "r.json", tmp_path / "r.xml"
    done = leafgate(
        "run", "cn-loop-with-key-ids", "tls/full-chain", "-j", "2", "--seed", "7", "--json", report, "--junit", junit
    )
    assert done.returncode == 0, done.stderr
    assert "✓ tls/cn-loop-with-key-ids" in done.stdout
    assert "2 passed in" in done.stdout
    assert "(seed 7)" in done.stdout
    assert [result["name"] for result in json.loads(report.read_text())["results"]] == [
        "tls/cn-loop-with-key-ids",
        "tls/full-chain",
    ]
    assert len(ET.parse(junit).findall(".//testcase")) == 2


def test_run_of_a_false_claim_exits_1(tmp_path: Path) -> None:
    """An expectation that fails is exit code 1, with the report on stdout and nothing on stderr."""
    write(tmp_path, "bad", FAILING)
    write(tmp_path, "good", PASSING)
    done = leafgate("run", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "expected connected, got refused by leaf: TLS: certificate has expired (10)" in done.stdout
    assert "1 passed, 1 failed" in done.stdout


def test_run_of_a_wrong_file_exits_2_and_plays_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file with mistakes stops the run before it begins."""
    path = write(tmp_path, "wrong", WRONG)
    write(tmp_path, "good", PASSING)
    done = inside(capsys, "run", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path}:2:9: there is no step `conect`; did you mean `connect`?\n"


def test_run_of_an_impossible_scene_exits_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What cannot be started is exit code 3, without a traceback."""
    write(tmp_path, "odd", "# A claim.\ngateway: {hostname: 'no host'}\nsteps: [{connect: a}]\n")
    done = inside(capsys, "run", tmp_path)
    assert done.returncode == 3
    assert "no host" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_run_of_an_unknown_name_exits_2_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt name gets the nearest one."""
    done = inside(capsys, "run", "tls/cn-lop-with-key-ids")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "leafgate: there is no file, folder or scenario 'tls/cn-lop-with-key-ids'\n"
        "  hint: did you mean `tls/cn-loop-with-key-ids`?\n"
    )


def test_json_on_stdout_is_nothing_but_json() -> None:
    """`--json -` leaves stdout to the program that reads it."""
    done = leafgate("run", "sas/valid-token", "--json", "-")
    assert json.loads(done.stdout)["results"][0]["status"] == "passed"
    assert "1 passed" in done.stderr


def test_report_that_cannot_be_written_exits_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder in the report's place is told in one line."""
    done = inside(capsys, "run", "sas/valid-token", "--json", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"leafgate: cannot write {tmp_path}: is a directory\n  hint: ")


def test_seed_repeats_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same seed twice: the same statuses, stacks and words; only times and ports may differ."""
    reports = []
    for number in range(2):
        path = tmp_path / f"{number}.json"
        assert inside(capsys, "run", "tls/missing-intermediate", "--seed", "5", "--json", path).returncode == 0
        result = json.loads(path.read_text())["results"][0]
        reports.append(
            (result["status"], result["stacks"], sorted((row["who"], row["text"]) for row in result["timeline"]))
        )
    assert reports[0] == reports[1]


def test_validate_of_the_library_says_how_many_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """All shipped files are valid."""
    done = inside(capsys, "validate", catalogue.LIBRARY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(catalogue.names())} scenarios valid\n"


def test_validate_tells_all_mistakes_of_all_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One run shows everything; exit code 2."""
    first = write(tmp_path, "a", WRONG)
    second = write(tmp_path, "b", "steps: []\n")
    done = inside(capsys, "validate", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{first}:2:9", f"{second}:1:1", f"{second}:1:8"]


def test_validate_of_an_empty_folder_says_what_scenarios_are_called(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An empty folder is a mistake, not a success."""
    done = inside(capsys, "validate", tmp_path)
    assert done.returncode == 2
    assert "hint: scenario files end in .scenario.yaml" in done.stderr


def test_list_shows_every_claim(capsys: pytest.CaptureFixture[str]) -> None:
    """The list has every name under its theme, in text and as JSON."""
    text = inside(capsys, "list").stdout
    document = json.loads(inside(capsys, "list", "--json").stdout)
    assert {entry["name"] for entry in document["scenarios"]} == set(catalogue.names())
    for entry in document["scenarios"]:
        assert entry["name"].rpartition("/")[2] in text
        assert entry["claim"]
    assert text.startswith("tls/\n")


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`leafgate schema` prints a JSON Schema that names the steps."""
    schema = json.loads(inside(capsys, "schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"Connect", "Publish", "Disconnect", "Expect", "Clock"} <= set(schema["$defs"])


@pytest.mark.parametrize("command", ["up", "demo", "run", "validate", "list", "faults", "schema"])
def test_help_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each command's help shows how it is used."""
    done = inside(capsys, command, "--help")
    assert done.returncode == 0
    assert f"leafgate {command}" in done.stdout.partition("Examples:")[2]


def test_usage_mistake_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown option is exit code 2 without a traceback."""
    done = inside(capsys, "run", "--joobs", "3")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_scenario_has_its_counterpart() -> None:
    """Each shipped scenario names another one that comes out the other way, and it exists."""
    library = catalogue.names()
    for loaded in catalogue.load_all(library.values()):
        counterpart = loaded.scenario.counterpart
        assert counterpart, loaded.name
        theme = loaded.name.rpartition("/")[0]
        assert {counterpart, f"{theme}/{counterpart}"} & set(library), loaded.name


def test_library_explains_every_refusal() -> None:
    """A shipped failure has its cause and its fix, and says who refuses, or that nobody is there to do so."""
    from scenarios.demo import is_failure
    from scenarios.steps.connect import Connect

    for loaded in catalogue.load_all(catalogue.names().values()):
        assert loaded.scenario.cause, loaded.name
        if is_failure(loaded):
            assert loaded.scenario.fix, loaded.name
            steps = [step for step in loaded.scenario.steps if isinstance(step, Connect)]
            refusals = [step.expect.refused for step in steps if step.expect.refused]
            assert all(refused.by or refused.class_ == "unreachable" for refused in refusals), loaded.name


def test_names_find_scenarios_and_themes() -> None:
    """A name with or without its theme, and a theme, find what they say; anything else is an error."""
    names = catalogue.names()
    assert catalogue.find(["tls/full-chain"]) == catalogue.find(["full-chain"]) == [names["tls/full-chain"]]
    assert len(catalogue.find(["sas"])) == len([name for name in names if name.startswith("sas/")])
    assert catalogue.find(["sas", "sas/valid-token"]) == catalogue.find(["sas"])
    with pytest.raises(UnknownScenarioError):
        catalogue.find(["no-such"])
