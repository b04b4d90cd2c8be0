"""docs/diagnose.md shows what the commands print: every block is run again."""

import re

import pytest

from certs.headlines import CAUSES
from tests.scenarios.pages import DOCS, blocks, plain, printed

TEXT = (DOCS / "diagnose.md").read_text("utf-8")
BLOCKS = blocks(TEXT)


@pytest.mark.parametrize(("command", "output"), BLOCKS, ids=range(len(BLOCKS)))
def test_block_is_what_the_command_prints(command, output, tmp_path):
    """A real gateway, a real diagnosis; only dates and ports may differ."""
    assert plain(printed(command, tmp_path)) == plain(output)


def test_page_has_five_stories():
    """So that none gets lost by a changed fence."""
    assert len(BLOCKS) == TEXT.count("### ") == 5


def test_page_lists_every_rule():
    """In the table, alone or within a range."""
    table = TEXT.partition("## The rules")[2].partition("\n## ")[0]
    listed = {name for row in re.findall(r"^\| ([A-Z]\d.*?) \|", table, re.MULTILINE) for name in row.split(", ")}
    assert {rule for rule in CAUSES if not rule.startswith("L")} <= listed
    assert "L1 to L7" in listed
