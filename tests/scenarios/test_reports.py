"""The reports: text for people, JSON and JUnit for machines."""

from __future__ import annotations

import io
import json as stdlib_json
from xml.etree import ElementTree as ET

import pytest

from scenarios.probing import StackNote
from scenarios.reports import json, junit
from scenarios.reports.text import Style, render
from scenarios.results import Result, Run
from scenarios.timeline import Row

ROWS = (
    Row(0.003, "gateway", "serves gw.factory.test ← iotedge workload ca ← gw.ca", "intermediate left out"),
    Row(0.041, "press-7", "TLS: unable to get local issuer certificate (20)"),
)
FAILED = Result(
    file="library/tls/missing-intermediate.scenario.yaml",
    name="tls/missing-intermediate",
    claim="A leaf refuses.",
    status="failed",
    duration=0.21,
    reason="expected connected, got refused",
    step="step 1 (connect press-7)",
    expected="connected",
    got="refused",
    why="gw.ca was issued by an intermediate that is neither sent nor trusted",
    fix="put the full chain into the device CA file",
    rows=ROWS,
    stacks=(StackNote("go", "measured", "refused", "refused"), StackNote("python", "live", "refused", "refused")),
)
PASSED = Result(file="a.scenario.yaml", name="a", claim="A leaf connects.", status="passed", duration=0.1)
SKIPPED = Result(file="b", name="b", claim="C.", status="skipped", duration=0.0, reason="no openssl here")
ERROR = Result(file="c", name="c", claim="C.", status="error", duration=0.0, reason="cannot listen \x1b[31m")
RUN = Run(42, (FAILED, PASSED, SKIPPED, ERROR), 1.25)


def test_text_of_a_failing_run_explains_itself() -> None:
    """A failure has its timeline, expected and got, why and fix; a passing scenario has one line."""
    lines = list(render(RUN, Style(colour=False, width=100)))
    assert lines[:8] == [
        "✗ tls/missing-intermediate" + " " * 68 + "0.21 s",
        "   0.003  gateway   serves gw.factory.test ← iotedge workload ca ← gw.ca     (intermediate left out)",
        "   0.041  press-7   TLS: unable to get local issuer certificate (20)",
        "   expected connected, got refused",
        "   other Go 1.27: refused (measured earlier, not played here)",
        "   why   gw.ca was issued by an intermediate that is neither sent nor trusted",
        "   fix   put the full chain into the device CA file",
        "✓ a" + " " * 91 + "0.10 s",
    ]
    assert lines[-1] == "1 passed, 1 failed, 1 skipped, 1 error in 1.25 s (seed 42)"


def test_text_keeps_to_the_width_of_the_terminal() -> None:
    """No line is wider than the terminal."""
    assert max(len(line) for line in render(RUN, Style(colour=False, width=60))) <= 60


@pytest.mark.parametrize(("terminal", "no_color", "colour"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colour_is_for_terminals_whose_user_wants_it(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, colour: bool
) -> None:
    """Colour needs a terminal and no NO_COLOR."""

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

        def fileno(self) -> int:
            return 1

    monkeypatch.setattr("os.get_terminal_size", lambda _: type("Size", (), {"columns": 90})())
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    assert Style.of(Stream()).colour is colour
    assert ("\x1b[" in "\n".join(render(RUN, Style.of(Stream())))) is colour


def test_json_has_the_published_shape() -> None:
    """version, seed, environment and one object per scenario with its timeline."""
    document = stdlib_json.loads(json.render(RUN))
    assert (document["version"], document["seed"]) == (1, 42)
    assert {"leafgate", "python", "openssl"} <= set(document["environment"])
    first, second = document["results"][:2]
    assert {"file", "name", "status", "reason", "duration_s", "timeline"} <= set(first)
    assert (first["status"], first["reason"]) == ("failed", "expected connected, got refused")
    assert first["timeline"][0] == {
        "at": 0.003,
        "who": "gateway",
        "text": "serves gw.factory.test ← iotedge workload ca ← gw.ca",
        "note": "intermediate left out",
    }
    assert [stack["source"] for stack in first["stacks"]] == ["measured", "live"]
    assert (second["status"], second["reason"], second["timeline"]) == ("passed", None, [])


def test_junit_has_one_case_per_scenario() -> None:
    """Counts, the failing step in the message, the timeline in system-out, the seed as a property."""
    suites = ET.fromstring(junit.render(RUN).partition("\n")[2])
    suite = suites[0]
    assert {suites.get(name) for name in ("tests",)} == {"4"}
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "1", "1")
    cases = suite.findall("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases][:2] == [
        ("tls", "missing-intermediate"),
        ("scenarios", "a"),
    ]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.get("message") == "step 1 (connect press-7): expected connected, got refused"
    assert "unable to get local issuer" in (cases[0].findtext("system-out") or "")
    assert [len(case) for case in cases] == [2, 1, 2, 2]
    assert suite.find("properties/property[@name='seed']").attrib["value"] == "42"  # type: ignore[union-attr]


def test_junit_is_well_formed_whatever_a_client_called_itself() -> None:
    """Control characters, which XML forbids, are replaced."""
    assert "\x1b" not in junit.render(RUN)
