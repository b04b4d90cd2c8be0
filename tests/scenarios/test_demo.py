"""`leafgate demo`: everything happens, in the order of a talk."""

from __future__ import annotations

import os
import pty
import re
import subprocess

from scenarios import catalogue
from scenarios.demo import is_failure
from tests.scenarios.command import CLEAN, COMMAND, leafgate


def test_demo_shows_chain_gateway_leaves_and_every_failure() -> None:
    """Four acts; each failure of the library is named and comes out as claimed; nothing is coloured in a pipe."""
    done = leafgate("demo", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^\d\. (.*)$", done.stdout, re.MULTILINE) == [
        "The chain",
        "The gateway",
        "Three leaves",
        "The failures",
    ]
    assert "server: iotedgegw.local" in done.stdout
    assert len(re.findall(r"^   upstream .*temperature", done.stdout, re.MULTILINE)) == 3
    failures = [loaded.name for loaded in catalogue.load_all(catalogue.names().values()) if is_failure(loaded)]
    assert re.findall(r"^ ?\d+  (\w+/\S+)$", done.stdout, re.MULTILINE) == failures
    assert f"{len(failures)} of {len(failures)} failures came out as claimed" in done.stdout
    assert "\x1b" not in done.stdout
    assert "(Enter)" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_demo_shows_no_key() -> None:
    """A demonstration is projected on walls: no shared access key is in it."""
    assert set(re.findall(r"SharedAccessKey=([^;\n]*)", leafgate("demo").stdout)) == {"..."}


def test_demo_with_steps_does_not_wait_for_a_pipe() -> None:
    """`--step` waits for a key at a terminal only."""
    done = leafgate("demo", "--step")
    assert done.returncode == 0


def test_demo_with_steps_waits_at_a_terminal() -> None:
    """At a terminal each act and each failure waits for a key; with enough of them it comes to its end."""
    controller, terminal = pty.openpty()
    failures = [loaded for loaded in catalogue.load_all(catalogue.names().values()) if is_failure(loaded)]
    os.write(controller, b"\n" * (3 + len(failures) - 1))
    words = [*COMMAND, "demo", "--step"]
    with subprocess.Popen(words, stdin=terminal, stdout=subprocess.PIPE, text=True, env=CLEAN) as process:
        output, _ = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert process.returncode == 0
    assert output.count("(Enter)") == 3 + len(failures) - 1
