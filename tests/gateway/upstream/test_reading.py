"""Looking at what a gateway has kept."""

import pytest

from gateway import Device, RegistryError, StoreError
from gateway.upstream import Registry
from gateway.upstream.database import HubDatabase
from gateway.upstream.reading import Reader, kept_registry


@pytest.fixture
def path(tmp_path):
    """Where the database is."""
    return tmp_path / "hub.db"


def files(path):
    """What is on the disk; readers make their marks in the shared memory of SQLite, which is none of that."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith("-shm")}


@pytest.mark.parametrize("running", [True, False])
def test_registry_is_read_while_a_gateway_runs_and_when_none_does(path, running):
    """Everything that was registered up to now; no file changes and none is added."""
    database = HubDatabase(path)
    database.hold()
    registry = Registry(database, edge_device_id="gw")
    registry.add(Device("press"))
    if not running:
        database.release()
    before = files(path)
    assert ("hub.db-wal" in before) is running
    assert list(kept_registry(path, path.with_name("registry.jsonl"))) == list(registry)
    assert files(path) == before
    registry.add(Device("lathe"))
    assert "lathe" in kept_registry(path, path.with_name("registry.jsonl"))
    database.release()


def test_without_a_registry_there_is_none(path):
    """None, and nothing is made."""
    assert kept_registry(path, path.with_name("registry.jsonl")) is None
    assert Reader(path).load("device") == {}
    assert list(path.parent.iterdir()) == []


def test_registry_that_cannot_be_read_is_an_error(path):
    """The database before the older file; neither is changed."""
    old = path.with_name("registry.jsonl")
    old.write_text("not json\n")
    with pytest.raises(RegistryError, match="cannot read the registry"):
        kept_registry(path, old)
    path.write_text("no database")
    with pytest.raises(StoreError, match="file is not a database"):
        kept_registry(path, old)
    assert files(path) == {"hub.db": b"no database", "registry.jsonl": b"not json\n"}


def test_reader_makes_no_change(path):
    """StoreError from whatever would write, a registration included."""
    HubDatabase(path).keep("job", "one", 1)
    reader = Reader(path)
    for act in (lambda: reader.keep("job", "one", None), lambda: Registry(reader).add(Device("press"))):
        with pytest.raises(StoreError, match="is only read"):
            act()
    assert reader.load("job") == {"one": 1}
