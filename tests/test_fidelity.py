"""The page that says where each behaviour is known from: its rows and its own list of them."""

import re
from collections import Counter
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "fidelity.md").read_text()
ROW = re.compile(r"^\| ([A-Z]{1,2}\d+) \|.*\| ([SDTFI ]+) \|$", re.MULTILINE)
LISTED = re.compile(r"so they are the first to suspect:\n\n(.*?)\n\n", re.DOTALL)


def test_each_behaviour_has_an_id_of_its_own():
    """Whoever writes about N4 means one thing."""
    assert [name for name, count in Counter(name for name, _ in ROW.findall(PAGE)).items() if count > 1] == []


def test_list_has_what_rests_on_reading_alone():
    """Everything marked S or I that nobody has tried (T), seen in the field (F) or documented (D)."""
    read_only = [name for name, marks in ROW.findall(PAGE) if not {"T", "F", "D"} & set(marks)]
    assert re.findall(r"[A-Z]{1,2}\d+", LISTED.search(PAGE)[1]) == read_only
