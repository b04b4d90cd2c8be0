"""The JUnit report: one test case per scenario, the failing step in its message, the timeline in system-out."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from scenarios.reports.text import Style, detail
from scenarios.results import Result, Run, environment

# XML 1.0, 2.2: no control characters besides tab and line ends, whatever a client has called itself.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: Run) -> str:
    """The run as JUnit XML."""
    counts = {"tests": len(run.results), "failures": run.count("failed"), "errors": run.count("error")}
    attributes = {name: str(count) for name, count in counts.items()}
    attributes |= {"skipped": str(run.count("skipped")), "time": f"{run.duration:.3f}"}
    suites = ET.Element("testsuites", attributes)
    suite = ET.SubElement(suites, "testsuite", {"name": "leafgate", **attributes})
    properties = ET.SubElement(suite, "properties")
    for name, value in {"seed": str(run.seed), **environment()}.items():
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for result in run.results:
        _case(suite, result)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: Result) -> None:
    theme, _, name = result.name.rpartition("/")
    attributes = {
        "classname": theme or "scenarios",
        "name": name,
        "time": f"{result.duration:.3f}",
        "file": result.file,
    }
    case = ET.SubElement(suite, "testcase", {key: _clean(value) for key, value in attributes.items()})
    text = _clean("\n".join(detail(result, Style(colour=False))))
    if result.status != "passed":
        element = {"failed": "failure", "error": "error", "skipped": "skipped"}[result.status]
        step = f"{result.step}: " if result.step else ""
        ET.SubElement(case, element, {"message": _clean(step + result.reason)}).text = text
    ET.SubElement(case, "system-out").text = text


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
