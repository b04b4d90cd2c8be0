"""The registry as it was kept before there was a database, and its way into one."""

import base64
import json
import logging

import pytest

from gateway import Device, RegistryError
from gateway.hub.service_identity import Authentication
from gateway.upstream import Registry
from gateway.upstream.database import HubDatabase
from gateway.upstream.reading import kept_registry
from gateway.upstream.registryfile import RegistryFile

KEY = base64.b64encode(b"k" * 32).decode()
LOG = logging.getLogger("test")

# as written by 0.1, and before there were scopes
OLD = {"device_id": "press", "module_id": None, "primary_key": KEY, "secondary_key": "", "enabled": True}
NEW = OLD | {"authentication": "sas", "edge": False, "parent": "", "generation_id": "600", "etag": "QQ=="}


@pytest.fixture
def path(tmp_path):
    """The old file."""
    return tmp_path / "registry.jsonl"


def write(path, *changes):
    """Make an old file of devices and of what was removed."""
    lines = [change if "removed" in change else {"set": {"thumbprints": []} | change} for change in changes]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def taken_over(path):
    """The registry of a new database beside it."""
    database = HubDatabase(path.with_name("hub.db"), predecessor=RegistryFile(path, LOG))
    registry = Registry(database, edge_device_id="gw")
    database.release()
    return registry


def test_old_registry_is_taken_over_once(path):
    """Its devices are in the database, with keys and generation; the file is as it was, under another name."""
    write(
        path,
        NEW,
        NEW | {"device_id": "gone"},
        NEW | {"module_id": "filter"},
        {"removed": ["gone", None]},
        NEW | {"enabled": False},
    )
    before = path.read_bytes()
    registry = taken_over(path)
    assert [device.client_id for device in registry] == ["press", "press/filter", "gw", "gw/$edgeHub"]
    press = registry.get("press")
    assert (press, press.generation_id) == (Device("press", primary_key=KEY, enabled=False), "600")
    assert not path.exists()
    assert path.with_name("registry.jsonl.migrated").read_bytes() == before
    registry.remove("press")
    assert [device.client_id for device in taken_over(path)] == ["gw", "gw/$edgeHub"]


def test_registry_written_before_there_were_scopes_is_read(path):
    """Its devices are children of the gateway; what they lack is the same at each reading."""
    write(path, OLD, OLD | {"device_id": "lathe", "primary_key": "", "thumbprints": ["AB"]})
    looked_at = kept_registry(path.with_name("hub.db"), path)
    registry = taken_over(path)
    assert registry.get("press") == Device("press", primary_key=KEY)
    assert registry.in_scope("press").keys == (KEY,)
    assert registry.in_scope("lathe").authentication == Authentication.SELF_SIGNED
    for name in ("press", "lathe"):
        assert registry.get(name).generation_id == looked_at.get(name).generation_id
    assert registry.get("press").generation_id != registry.get("lathe").generation_id


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[]", b"{}", b'{"set": {}}', b'{"removed": 1}', b'"set"', b"\xff\xfe",
     b'{"set": {"device_id": "a", "thumbprints": [], "more": 1}}',
     b'{"set": {"device_id": "a", "thumbprints": [], "authentication": "faith"}}'],
)  # fmt: skip
def test_damaged_registry_is_refused_and_left_alone(path, line):
    """One clear error that quotes nothing of the file, which holds keys; no database is made of half of it."""
    write(path, NEW)
    damaged = path.read_bytes() + line + b"\n"
    path.write_bytes(damaged)
    with pytest.raises(RegistryError, match="cannot read the registry") as error:
        taken_over(path)
    assert KEY not in error.value.message
    assert line.decode(errors="replace") not in error.value.message
    assert "it was not changed" in error.value.hint
    assert path.read_bytes() == damaged
    assert not path.with_name("hub.db").exists()


def test_old_registry_beside_a_database_is_left_alone(path, caplog):
    """Put back by somebody, or never renamed for a SIGKILL: it is not read, and that is said."""
    write(path, NEW)
    taken_over(path)
    write(path, NEW | {"device_id": "other"})
    before = path.read_bytes()
    registry = taken_over(path)
    assert "other" not in registry
    assert "press" in registry
    assert path.read_bytes() == before
    assert caplog.messages == [f"{path} is not read any more: devices are registered in hub.db beside it"]


def test_old_registry_is_never_renamed_over_anything(path):
    """The name gets a number when there is such a file already."""
    for number, name in enumerate(("one", "two", "three")):
        write(path, NEW | {"device_id": name})
        database = HubDatabase(path.with_name(f"hub{number}.db"), predecessor=RegistryFile(path, LOG))
        assert name in Registry(database)
        database.release()
    names = ["registry.jsonl.migrated", "registry.jsonl.migrated-1", "registry.jsonl.migrated-2"]
    kept = [json.loads(path.with_name(name).read_text())["set"]["device_id"] for name in names]
    assert kept == ["one", "two", "three"]


def test_without_an_old_registry_there_is_nothing_to_take_over(path, caplog):
    """No file, no devices, no word."""
    assert [device.client_id for device in taken_over(path)] == ["gw", "gw/$edgeHub"]
    assert caplog.messages == []
