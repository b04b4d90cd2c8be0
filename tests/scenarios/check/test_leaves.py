"""Leaf devices and their parent."""

from __future__ import annotations

from pathlib import Path

from gateway.upstream import Device, Registry
from gateway.upstream.database import HubDatabase
from scenarios.check.leaves import leaf_parent
from scenarios.check.model import Status
from scenarios.check.sources import registered
from scenarios.check.subject import LeafDevice
from tests.scenarios.check.conftest import subject


def registry(folder: Path) -> Registry:
    """The registry that a gateway keeps in its state folder."""
    return Registry(HubDatabase(folder / "hub.db"), edge_device_id="edge-1", hub_hostname="hub.test")


def kept(folder: Path) -> dict[str, bytes]:
    """What is on the disk; readers make their marks in the shared memory of SQLite, which is none of that."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def test_children_are_ok_and_strangers_are_an_error(tmp_path: Path) -> None:
    """A leaf without a parent, or below another gateway, gets CONNACK 5; one below a child gateway is a descendant."""
    made = registry(tmp_path)
    for device in (
        Device("child"),
        Device("below", edge=True),
        Device("grandchild", parent="below"),
        Device("stranger", parent=None),
        Device("elsewhere", edge=True, parent=None),
        Device("theirs", parent="elsewhere"),
    ):
        made.add(device)
    before = kept(tmp_path)
    outcome = leaf_parent.run(subject(leaves=registered(tmp_path)))
    assert outcome.status is Status.ERROR
    assert outcome.facts["outside"] == ["stranger", "elsewhere", "theirs"]
    assert "CONNACK 5" in outcome.details[0]
    assert kept(tmp_path) == before


def test_disabled_child_is_a_warning(tmp_path: Path) -> None:
    """It may be meant, but it is refused like a stranger."""
    registry(tmp_path).add(Device("child", enabled=False))
    outcome = leaf_parent.run(subject(leaves=registered(tmp_path)))
    assert (outcome.status, outcome.facts["disabled"]) == (Status.WARNING, ["child"])


def test_children_alone_are_ok(tmp_path: Path) -> None:
    """The gateway itself and modules are no leaves."""
    made = registry(tmp_path)
    made.add(Device("child"))
    made.add(Device("child", "module"))
    outcome = leaf_parent.run(subject(leaves=registered(tmp_path)))
    assert (outcome.status, outcome.facts["leaves"]) == (Status.OK, 1)


def test_long_list_is_cut() -> None:
    """A thousand strangers are one line."""
    leaves = tuple(LeafDevice(f"leaf-{number}", enabled=True, in_scope=False) for number in range(1000))
    outcome = leaf_parent.run(subject(leaves=leaves))
    assert "leaf-4 and 995 more; Edge Hub" in outcome.details[0]


def test_without_a_registry_the_check_is_skipped(tmp_path: Path) -> None:
    """The reason says what to give."""
    outcome = leaf_parent.run(subject(leaves=registered(tmp_path)))
    assert outcome.status is Status.SKIPPED
    assert "--state" in outcome.reason
