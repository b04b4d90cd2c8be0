"""`leafgate up` below another gateway: ready files handed down, real processes, and every wrong combination."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leafsim import Device
from scenarios import nesting
from scenarios.errors import CannotPlayError, ScenariosError
from scenarios.upoptions import Options
from tests.scenarios.command import leafgate, running
from tests.scenarios.test_up import connect_to, ready

PORTS = ("--mqtt-port", "0", "--https-port", "0")


def parents_file(folder: Path, **changes: Any) -> Path:
    """A ready file of a gateway with one child."""
    facts = {
        "hostname": "parent.factory.test",
        "bind": "0.0.0.0",
        "mqtt_port": 18883,
        "https_port": 18443,
        "root_ca": str(folder / "root.pem"),
        "children": {"edge2": {"connection_string": "HostName=h;DeviceId=edge2;SharedAccessKey=AAAA", "leaves": {},
                               "children": {}}},
    }  # fmt: skip
    path = folder / "parent.json"
    path.write_text(json.dumps(facts | changes))
    return path


def test_two_levels_of_processes(tmp_path: Path) -> None:
    """Terminal one registers, terminal two reads its ready file; a leaf connects below both by what that one says."""
    above, below = tmp_path / "parent.json", tmp_path / "child.json"
    names = ("--hostname", "parent.factory.test", "--child", "edge2/press-7", "--child", "edge2/edge3/oven-1")
    with running("up", *PORTS, *names, "--ready-file", above) as parent:
        facts = ready(parent, above)
        assert facts["leaves"] == {}
        own = facts["children"]["edge2"]
        assert own["connection_string"].startswith("HostName=hub.leafgate.test;DeviceId=edge2;SharedAccessKey=")
        assert list(own["children"]["edge3"]["leaves"]) == ["oven-1"]
        options = ("--hostname", "child.factory.test", "--parent", above, "--ready-file", below)
        with running("up", *PORTS, *options, "--log-level", "off") as child:
            there = ready(child, below)
            assert list(there["leaves"]) == ["press-7"]
            assert there["leaves"]["press-7"] == own["leaves"]["press-7"] + ";GatewayHostName=child.factory.test"
            assert there["children"] == own["children"]
            assert there["hub"]["https_port"] is None
            leaf = Device(
                there["leaves"]["press-7"],
                trust=Path(there["root_ca"]),
                port=there["mqtt_port"],
                connect_to=connect_to(there),
            )
            leaf.connect(timeout=60)  # the child asks its parent, which may take as long as the first connection does
            leaf.send({"n": 1})
            leaf.disconnect()
            child.terminate()
            output, errors = child.communicate(timeout=30)
        where = f"127.0.0.1:{facts['mqtt_port']}"
        assert f"  parent  parent.factory.test at {where}, as edge device edge2" in output
        assert "  child   edge3, with oven-1 below it" in output
        assert "Traceback" not in errors


def test_ready_file_says_where_the_parent_is(tmp_path: Path) -> None:
    """Name, key, trust and ports; an address that stands for all is reached by loopback."""
    found = nesting.above(Options(parent=str(parents_file(tmp_path))))
    assert found is not None
    assert (found.hostname, found.address) == ("parent.factory.test", ("127.0.0.1", 18883, 18443))
    assert (found.trust, found.connection) == (
        tmp_path / "root.pem",
        "HostName=h;DeviceId=edge2;SharedAccessKey=AAAA",
    )
    assert "AAAA" not in repr(found)


def test_name_of_the_parent_comes_from_the_configuration(tmp_path: Path) -> None:
    """parent_hostname of config.toml counts before the ready file's, and --parent-hostname before both."""
    config = tmp_path / "config.toml"
    config.write_text('hostname = "child.factory.test"\nparent_hostname = "other.factory.test"\n')
    parent = str(parents_file(tmp_path))
    found = nesting.above(Options(parent=parent, iotedge_config=config))
    assert found is not None
    assert found.hostname == "other.factory.test"
    found = nesting.above(Options(parent=parent, iotedge_config=config, parent_hostname="third.test"))
    assert found is not None
    assert found.hostname == "third.test"


def test_parent_hostname_alone_is_told_and_not_followed(tmp_path: Path) -> None:
    """Without --parent the configuration's parent stays out of it, with what to give."""
    config, path = tmp_path / "config.toml", tmp_path / "ready.json"
    config.write_text('hostname = "child.factory.test"\nparent_hostname = "parent.factory.test"\n')
    with running("up", "--mqtt-port", "0", "--iotedge-config", config, "--ready-file", path) as process:
        ready(process, path)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert "parent_hostname parent.factory.test is not followed: this gateway has a hub of its own" in errors
    assert "give --parent READY.json of that gateway" in errors


def test_connection_string_needs_a_name(tmp_path: Path) -> None:
    """A string says who one is, not where the parent is; with a name and an address it is enough."""
    text = "HostName=h;DeviceId=edge2;SharedAccessKey=AAAA"
    with pytest.raises(ScenariosError, match="no name to connect to"):
        nesting.above(Options(parent=text))
    found = nesting.above(
        Options(parent=text, parent_hostname="p.test", parent_address="[::1]:1:2", parent_trust=tmp_path / "r.pem")
    )
    assert found == nesting.Above("p.test", text, tmp_path / "r.pem", ("::1", 1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parent_hostname": "p.test"}, "--parent-hostname is for a gateway that has a parent"),
        ({"edge_device_id": "e"}, "--edge-device-id is for a gateway that has a parent"),
        ({"parent": "x", "leaves": ("a",)}, "--leaf is for the gateway at the top"),
        ({"parent": "x", "children": ("e/l",)}, "--child is for the gateway at the top"),
        ({"parent": "x", "scenario": "s"}, "--scenario is for the gateway at the top"),
        ({"parent": "x", "parent_address": "host"}, "--parent-address 'host' cannot be read"),
        ({"children": ("press",)}, "--child 'press' names no edge device"),
        ({"children": ("/press",)}, "--child '/press' names no edge device"),
    ],
)
def test_wrong_combination_is_refused(options: dict[str, Any], message: str) -> None:
    """Before anything is started, with what to write instead."""
    with pytest.raises(ScenariosError) as caught:
        nesting.check(Options(**options))
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_file_that_is_no_parents_is_refused(tmp_path: Path) -> None:
    """Missing, not JSON, without children, without the child that is asked for, with a choice to make."""
    with pytest.raises(CannotPlayError, match="cannot read"):
        nesting.above(Options(parent=str(tmp_path / "none.json")))
    (tmp_path / "text.json").write_text("no")
    with pytest.raises(CannotPlayError, match="is no ready file of a gateway with children"):
        nesting.above(Options(parent=str(tmp_path / "text.json")))
    with pytest.raises(ScenariosError, match="has no child gateway"):
        nesting.above(Options(parent=str(parents_file(tmp_path, children={}))))
    with pytest.raises(ScenariosError, match="has no child edge9"):
        nesting.above(Options(parent=str(parents_file(tmp_path)), edge_device_id="edge9"))
    one = {"connection_string": "x", "leaves": {}, "children": {}}
    both = str(parents_file(tmp_path, children={"edge2": one, "edge3": one}))
    with pytest.raises(ScenariosError, match="has several children"):
        nesting.above(Options(parent=both))
    assert nesting.above(Options(parent=both, edge_device_id="edge3")) is not None
    with pytest.raises(CannotPlayError, match="has no HTTPS port"):
        nesting.above(Options(parent=str(parents_file(tmp_path, https_port=None))))


def test_wrong_parent_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    """Exit code 3 for a file that is not there, 2 for options that contradict each other."""
    done = leafgate("up", "--parent", tmp_path / "none.json", "--mqtt-port", "0")
    assert done.returncode == 3
    assert "cannot read" in done.stderr
    done = leafgate("up", "--child", "press", "--mqtt-port", "0")
    assert done.returncode == 2
    assert "names no edge device" in done.stderr
    assert "Traceback" not in done.stderr
