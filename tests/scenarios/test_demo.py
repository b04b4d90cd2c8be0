"""`leafgate demo`: everything happens, in the order of a talk."""

from __future__ import annotations

import re

from scenarios import catalogue
from scenarios.demo import is_failure
from tests.scenarios.command import leafgate


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
