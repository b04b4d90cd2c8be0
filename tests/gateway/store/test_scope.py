"""The device scope in a file."""

import json
import logging
import stat

import pytest

from gateway.errors import StoreError
from gateway.store.scope import MemoryScope, ScopeFile
from tests.gateway.client import descriptor_count
from tests.gateway.hub.identities import KEY, Log, device


@pytest.fixture
def opened(tmp_path):
    """Opens the file as often as the test likes: `opened()` is (file, what it had)."""
    files = []

    def opened(log=None):
        file = ScopeFile(tmp_path / "scope.jsonl", log or logging.getLogger("test"))
        files.append(file)
        return file, list(file.load())

    yield opened
    for file in files:
        file.close()


def test_scope_is_read_back(opened, tmp_path):
    """Additions, changes and removals; the file is 0600, and a start makes it one line per identity."""
    file, had = opened()
    assert had == []
    for one in (device(), device("other"), device("press", "filter"), device(enabled=False)):
        file.save(one)
    file.remove("other")
    file.remove("ghost")
    file.close()
    path = tmp_path / "scope.jsonl"
    assert len(path.read_text().splitlines()) == 6
    assert opened()[1] == [device(enabled=False), device("press", "filter")]
    assert len(path.read_text().splitlines()) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["scope.jsonl"]


def test_line_that_was_being_written_is_passed_over(opened, tmp_path):
    """A gateway that was killed may leave half a line behind."""
    file, _ = opened()
    file.save(device())
    file.close()
    with (tmp_path / "scope.jsonl").open("a") as torn:
        torn.write('{"set": {"deviceId": "ha')
    assert opened()[1] == [device()]


@pytest.mark.parametrize("line", ["no json", "[]", "{}", '{"set": {}}', '{"set": 1}', '{"removed": []}', '"set"'])
def test_damaged_scope_is_refused_and_left_alone(opened, tmp_path, line):
    """One clear error that quotes nothing of the file, which holds keys; nothing stays open."""
    file, _ = opened()
    file.save(device())
    file.close()
    path = tmp_path / "scope.jsonl"
    path.write_text(damaged := path.read_text() + line + "\n")
    before = descriptor_count()
    with pytest.raises(StoreError, match="cannot read the device scope") as error:
        opened()
    assert KEY not in error.value.message
    assert line not in error.value.message
    assert "it was not changed" in error.value.hint
    assert (path.read_text(), descriptor_count()) == (damaged, before)


def test_scope_that_cannot_be_written_stops_the_start(tmp_path):
    """StoreError, and nothing stays open."""
    before = descriptor_count()
    file = ScopeFile(tmp_path / "nowhere" / "scope.jsonl", logging.getLogger("test"))
    with pytest.raises(StoreError, match="cannot write the device scope"):
        file.load()
    assert descriptor_count() == before


def test_change_that_cannot_be_stored_is_told(opened):
    """The gateway goes on: the scope is known again once the cloud has been asked."""
    log = Log()
    file, _ = opened(log)
    file.close()
    file.save(device())
    assert log.take()[0].startswith("WARNING The device scope cannot be stored in ")


def test_identity_in_the_file_is_iot_hubs_json(opened, tmp_path):
    """So that a person can read it."""
    file, _ = opened()
    file.save(device())
    assert json.loads((tmp_path / "scope.jsonl").read_text())["set"]["authentication"]["type"] == "sas"


def test_memory_scope_keeps_what_was_not_removed():
    """For gateways without a state folder: it outlives a restart of Edge Hub."""
    store = MemoryScope()
    store.save(device())
    assert [one.client_id for one in store.load()] == ["press"]
    store.remove("press")
    store.remove("nobody")
    assert list(store.load()) == []
