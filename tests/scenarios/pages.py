"""Pages of the documentation that show what commands print: every block is run again."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.scenarios.command import CLEAN, COMMAND

DOCS = Path(__file__).parents[2] / "docs"
#: runs what follows with the port that the gateway got
_AT_ITS_PORT = """
import json, os, sys
port = json.load(open(os.environ["LEAFGATE_READY"]))["mqtt_port"]
words = [word.replace(":8883", f":{port}") for word in sys.argv[1:]]
os.execv(sys.executable, [sys.executable, "-m", *words])
"""


def blocks(text):
    """Command and output of every block with a gateway and a diagnosis."""
    return re.findall(r"```console\n\$ leafgate (up .*?-- leafgate diagnose localhost:8883.*)\n([^`]*)```", text)


def plain(text):
    """The text without what changes: ports, dates, times, the OpenSSL at hand."""
    text = re.sub(r"\(OpenSSL \d+\.\d+\.\d+ [^)]*\)", "(OpenSSL)", " ".join(text.split()))
    text = re.sub(r"localhost:\d+", "localhost:PORT", text)
    return re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "DATE", text)


def printed(command, folder):
    """What a command of a page prints in that folder, with free ports in place of 8883 and 443."""
    gateway, diagnose = (shlex.split(part) for part in command.split("-- leafgate "))
    ports = ["--mqtt-port", "0", "--https-port", "0", "--log-level", "off"]
    words = [*COMMAND, *gateway, *ports, "--", sys.executable, "-c", _AT_ITS_PORT, "leafgate", *diagnose]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=CLEAN, cwd=folder)
    return done.stdout
