"""IoT Hub's database: documents in one SQLite file."""

import gc
import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from gateway import StoreError
from gateway.upstream.database import HubDatabase
from gateway.upstream.keeper import ForgetfulKeeper
from tests.gateway.client import descriptor_count

SECRET = "c2VjcmV0LWtleQ=="


@pytest.fixture
def path(tmp_path):
    """Where the database is."""
    return tmp_path / "state" / "hub.db"


@pytest.fixture
def database(path):
    """A database that is held."""
    opened = HubDatabase(path)
    opened.hold()
    yield opened
    opened.release()


def filled(path, count=500):
    """Make a database with that many documents, all of them in the file itself."""
    database = HubDatabase(path)
    database.write([("device", f"d{number}", f'{{"key":"{SECRET}","n":{number}}}') for number in range(count)])
    database.release()


def refusal(path, act=HubDatabase.hold):
    """What using this file says; neither it nor what lies beside it changes, except for locks, and no key is shown."""
    before = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    database = HubDatabase(path)
    with pytest.raises(StoreError) as error:
        act(database)
    database.release()
    after = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file() and each.suffix != ".lock"}
    assert after == {each: content for each, content in before.items() if each.suffix != ".lock"}
    assert error.value.exit_code == 3
    assert "move the file away to start without it; it was not changed" in error.value.hint
    assert SECRET not in error.value.message + error.value.hint
    prefix = f"cannot use the database of IoT Hub {path}: "
    assert error.value.message.startswith(prefix)
    return error.value.message.removeprefix(prefix)


# -- documents ---------------------------------------------------------------------------------------------------------


def test_documents_are_kept_by_kind_and_key_in_the_order_of_their_keys_coming(database):
    """A document that is changed keeps its place, one that is forgotten and comes again goes to the end."""
    for key in ("c", "a", "b"):
        database.keep("job", key, {"n": key, "text": "ä\n\U0001f600"})
    database.keep("other", "a", [1, None, 2.5])
    database.keep("job", "c", {"n": 3})
    database.keep("job", "a", None)
    database.keep("job", "a", {})
    database.keep("job", "ghost", None)
    assert list(database.load("job").items()) == [
        ("c", {"n": 3}),
        ("b", {"n": "b", "text": "ä\n\U0001f600"}),
        ("a", {}),
    ]
    assert database.load("other") == {"a": [1, None, 2.5]}
    assert database.load("nothing") == {}


def test_documents_are_found_by_the_start_of_their_keys(database):
    """The prefix is text, not a pattern."""
    for key in (
        "press tags",
        "press reported",
        "press/filter tags",
        "press2 tags",
        "%",
        "Press tags",
        "press \U0010fffe",
    ):
        database.keep("twin", key, 1)
    assert list(database.load("twin", "press ")) == ["press tags", "press reported", "press \U0010fffe"]
    assert list(database.load("twin", "%")) == ["%"]


def test_documents_survive_a_restart(path):
    """Owner alone can read them; the folder is made."""
    first = HubDatabase(path)
    first.hold()
    first.keep("job", "one", {"a": 1})
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first.release()
    assert {each.name for each in path.parent.iterdir()} == {"hub.db", "hub.lock"}
    assert HubDatabase(path).load("job") == {"one": {"a": 1}}


def test_changes_are_made_together_or_not_at_all(database):
    """A change that SQLite refuses takes those beside it along, and what comes afterwards is kept."""
    database.keep("job", "one", 1)
    database._open.database.execute(
        "CREATE TRIGGER no BEFORE INSERT ON document WHEN new.kind = 'bad' BEGIN SELECT raise(ABORT, 'not now'); END"
    )
    with pytest.raises(StoreError, match=r"IoT Hub cannot store the change in .*: not now"):
        database.write([("job", "two", "2"), ("job", "one", None), ("bad", "x", "1")])
    assert database.load("job") == {"one": 1}
    database.write([("job", "two", "2"), ("job", "one", None)])
    assert database.load("job") == {"two": 2}


def test_no_change_makes_no_file(path):
    """A gateway that was never started and registered nothing leaves nothing."""
    HubDatabase(path).write([])
    assert not path.parent.exists()


def test_document_that_is_no_json_is_refused(database):
    """NaN and text with half a character have no JSON in UTF-8; nothing is kept, and what comes afterwards is."""
    with pytest.raises(ValueError, match="JSON compliant"):
        database.keep("job", "one", float("nan"))
    for changes in ([("job", "one", '"\ud800"')], [("job", "two", "2"), ("job", "one", '"\ud800"')]):
        with pytest.raises(UnicodeEncodeError):
            database.write(changes)
    assert database.load("job") == {}
    database.write([("job", "three", "3"), ("job", "four", "4")])
    assert database.load("job") == {"three": 3, "four": 4}


def test_threads_may_share_a_database(database):
    """Whoever drives a gateway from a thread of its own registers devices there; nothing is lost or mixed up."""

    def write(name):
        for number in range(100):
            database.write([("job", f"{name}{number}", "1"), ("other", f"{name}{number}", "1")])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.load("job")) == len(database.load("other")) == 400


@pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
def test_durability_decides_on_the_fsync(path, durability, synchronous):
    """NORMAL in a write-ahead log has none per change, FULL has one."""
    database = HubDatabase(path, durability=durability)
    database.hold()
    assert database._open.database.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    assert database._open.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.release()


_WRITER = """
import sys
from pathlib import Path
from gateway.upstream.database import HubDatabase
database = HubDatabase(Path(sys.argv[1]))
database.hold()
for number in range(1_000_000):
    database.write([("job", str(number), "1"), ("twin", str(number), "1")])
    print(number, flush=True)
"""


def test_what_was_written_survives_a_kill(path):
    """Every change whose writing had returned before SIGKILL is there, and no change is there by half."""
    for run in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline() for _ in range(50 + 100 * run)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.read().splitlines()
        database = HubDatabase(path)
        kept = database.load("job")
        assert {line.strip() for line in lines} <= kept.keys()
        assert kept.keys() == database.load("twin").keys()
        database.release()


def test_forgetful_keeper_keeps_nothing():
    """For a gateway without a state folder."""
    keeper = ForgetfulKeeper()
    keeper.keep("job", "one", 1)
    keeper.write([("job", "two", "2")])
    assert (keeper.load("job"), keeper.hold()) == ({}, False)
    keeper.release()


# -- one gateway at a time ---------------------------------------------------------------------------------------------


def test_database_is_for_one_gateway_at_a_time(path):
    """Who holds it keeps others from reading, writing and holding; they go on when it is released."""
    first, second = HubDatabase(path), HubDatabase(path)
    first.keep("job", "one", 1)
    second.keep("job", "two", 2)
    first.hold()
    for act in (second.hold, lambda: second.load("job"), lambda: second.keep("job", "three", 3)):
        with pytest.raises(StoreError, match="is in use by another gateway") as error:
            act()
        assert "--state" in error.value.hint
    first.keep("job", "four", 4)
    first.release()
    assert second.load("job") == {"one": 1, "two": 2, "four": 4}
    second.hold()
    second.release()


def test_holder_is_told_whether_others_made_changes(path):
    """At first it does not know; then only when there were any, and always after a release."""
    first, second = HubDatabase(path), HubDatabase(path)
    assert first.load("job") == {}
    assert first.hold() is False
    first.release()
    assert first.hold() is True
    first.release()
    first.load("job")
    second.keep("job", "one", 1)
    assert first.hold() is True
    assert first.hold() is False
    first.release()


def test_database_leaves_no_thread_and_no_descriptor(path):
    """Holding, failing to and releasing leave nothing behind, and neither does one that is forgotten."""
    filled(path, 1)
    bad = path.with_name("bad.db")
    bad.write_bytes(b"x" * 5_000)
    gc.collect()
    threads, descriptors = threading.active_count(), descriptor_count()
    for _ in range(10):
        database = HubDatabase(path)
        database.hold()
        database.release()
        database.load("device")
        database = HubDatabase(bad)
        with pytest.raises(StoreError):
            database.hold()
        del database
        gc.collect()
    assert (threading.active_count(), descriptor_count()) == (threads, descriptors)


# -- what cannot be used -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"this is no database, but long enough " * 100,
        b"\0" * 8_192,
        b"SQLite format 3\0",
        random.Random(5).randbytes(9_000),
    ],
)
def test_file_that_is_no_database_is_refused(path, content):
    """Text, zeros, a header cut short, random bytes."""
    path.parent.mkdir()
    path.write_bytes(content)
    assert refusal(path) == "file is not a database"


def test_header_with_garbage_behind_it_is_refused(path):
    """It names no program that we know."""
    path.parent.mkdir()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    assert refusal(path) == "it is the database of another program"


@pytest.mark.parametrize("length", [4_096, 5_000, 8_192, 30_000])
def test_truncated_file_is_refused(path, length):
    """Cut at the end of a page or within one."""
    filled(path)
    assert path.stat().st_size > 32_768
    os.truncate(path, length)
    assert refusal(path) == "database disk image is malformed"


def test_file_that_was_emptied_beside_its_log_is_refused(path):
    """SQLite would throw the log away, with everything in it."""
    database = HubDatabase(path)
    database.hold()
    database.keep("job", "one", 1)
    copy = path.parent.parent / "copy"
    copy.mkdir()
    (copy / "hub.db").touch()
    (copy / "hub.db-wal").write_bytes(path.with_name("hub.db-wal").read_bytes())
    database.release()
    assert refusal(copy / "hub.db") == "it is empty, while its write-ahead log is not"


def test_newer_schema_is_refused(path):
    """A file of a later version is left alone, with words that say so."""
    filled(path, 1)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=2")
    other.close()
    assert refusal(path) == "it was written by a newer leafgate (schema 2)"


@pytest.mark.parametrize("mark", ["user_version=1", "application_id=7", "user_version=0"])
def test_database_of_another_program_is_refused(path, mark):
    """With a version or an application of its own, or just with a table."""
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.execute(f"PRAGMA {mark}")
    other.commit()
    other.close()
    assert refusal(path) == "it is the database of another program"


def test_damaged_page_is_found_when_it_is_read(path):
    """Damage behind a good header; the page is left as it is."""
    filled(path)
    raw = bytearray(path.read_bytes())
    raw[4_096:] = b"\xff" * (len(raw) - 4_096)
    path.write_bytes(raw)
    assert refusal(path, lambda database: database.load("device")) == "database disk image is malformed"


def test_document_that_was_edited_badly_is_found_when_it_is_read(path):
    """The error says where, not what is there."""
    filled(path, 1)
    other = sqlite3.connect(path)
    other.execute("UPDATE document SET body = substr(body, 2)")
    other.commit()
    other.close()
    assert "Extra data" in refusal(path, lambda database: database.load("device"))


def test_folder_in_its_place_is_refused(path):
    """It is not touched."""
    path.mkdir(parents=True)
    (path / "theirs").touch()
    assert refusal(path) == "Is a directory"
    assert [each.name for each in path.iterdir()] == ["theirs"]


def test_file_in_the_place_of_its_folder_is_refused(path):
    """Nothing can be made there."""
    path.parent.touch()
    with pytest.raises(StoreError, match="cannot use the database of IoT Hub"):
        HubDatabase(path).hold()


def test_file_that_may_not_be_read_is_refused():
    """The owner took the permission away; root, whom nothing stops, becomes somebody else for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        filled(path, 1)
        path.with_name("hub.lock").chmod(0o666)
        path.chmod(0)
        Path(folder).chmod(0o777)
        if os.geteuid():
            database = HubDatabase(path)
            with pytest.raises(StoreError, match=r"hub\.db: Permission denied"):
                database.hold()
            database.release()
            return
        os.seteuid(65_534)
        try:
            database = HubDatabase(path)
            with pytest.raises(StoreError, match=r"hub\.db: Permission denied"):
                database.hold()
            database.release()
        finally:
            os.seteuid(0)


def test_full_disk_refuses_the_change_and_recovers(path):
    """A real limit of the operating system (RLIMIT_FSIZE): StoreError, nothing is changed, later ones are kept."""
    database = HubDatabase(path)
    database.hold()
    database.keep("job", "one", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        for act in (
            lambda: database.keep("job", "large", "x" * 200_000),
            lambda: database.write([("job", "one", None), ("job", "large", '"' + "x" * 200_000 + '"')]),
        ):
            with pytest.raises(StoreError) as error:
                act()
            assert error.value.hint == "make room on the disk of --state"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert database.load("job") == {"one": 1}
    database.keep("job", "two", 2)
    database.release()
    assert HubDatabase(path).load("job") == {"one": 1, "two": 2}
