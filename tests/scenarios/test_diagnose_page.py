"""docs/diagnose.md shows what the commands print: every block is run again."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from certs.headlines import CAUSES
from tests.scenarios.command import CLEAN, COMMAND

PAGE = Path(__file__).parents[2] / "docs" / "diagnose.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"```console\n\$ leafgate (up .*?-- leafgate diagnose localhost:8883.*)\n([^`]*)```", TEXT)
#: runs what follows with the port that the gateway got
_AT_ITS_PORT = """
import json, os, sys
port = json.load(open(os.environ["LEAFGATE_READY"]))["mqtt_port"]
words = [word.replace(":8883", f":{port}") for word in sys.argv[1:]]
os.execv(sys.executable, [sys.executable, "-m", *words])
"""


def plain(text):
    """The text without what changes: ports, dates, times, the OpenSSL at hand."""
    text = re.sub(r"\(OpenSSL \d+\.\d+\.\d+ [^)]*\)", "(OpenSSL)", " ".join(text.split()))
    text = re.sub(r"localhost:\d+", "localhost:PORT", text)
    return re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "DATE", text)


def printed(command):
    """What a command of the page prints, with free ports in place of 8883 and 443."""
    gateway, diagnose = (shlex.split(part) for part in command.split("-- leafgate "))
    ports = ["--mqtt-port", "0", "--https-port", "0", "--log-level", "off"]
    words = [*COMMAND, *gateway, *ports, "--", sys.executable, "-c", _AT_ITS_PORT, "leafgate", *diagnose]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=CLEAN).stdout


@pytest.mark.parametrize(("command", "output"), BLOCKS, ids=range(len(BLOCKS)))
def test_block_is_what_the_command_prints(command, output):
    """A real gateway, a real diagnosis; only dates and ports may differ."""
    assert plain(printed(command)) == plain(output)


def test_page_has_five_stories():
    """So that none gets lost by a changed fence."""
    assert len(BLOCKS) == TEXT.count("### ") == 5


def test_page_lists_every_rule():
    """In the table, alone or within a range."""
    table = TEXT.partition("## The rules")[2].partition("\n## ")[0]
    listed = {name for row in re.findall(r"^\| ([A-Z]\d.*?) \|", table, re.MULTILINE) for name in row.split(", ")}
    assert {rule for rule in CAUSES if not rule.startswith("L")} <= listed
    assert "L1 to L7" in listed
