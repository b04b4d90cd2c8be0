"""What both stores promise, and what SQLite adds."""

import os
import sqlite3
import stat
import threading

import pytest

from gateway import StoreError
from gateway.hub.messages import Message
from gateway.store import UPSTREAM
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore
from tests.gateway.client import descriptor_count


def messages(*numbers, size=2):
    """Messages with these numbers."""
    return [Message(one, "press", None, 1_700_000_000_000, '{"n":null}', "{}", bytes(size)) for one in numbers]


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """An empty store of each kind."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "messages.db")
    yield store
    store.close()


def test_store_gives_back_what_was_written(store):
    """Every field comes back as it went in, in the order of the numbers."""
    rich = Message(3, "dö", "m", 5, '{"€":"\\n"}', '{"message-id":"1"}', bytes(range(256)))
    store.write(messages(1, 2))
    store.write([rich])
    assert store.read(0, 10) == [*messages(1, 2), rich]
    assert isinstance(store.read(0, 1)[0], Message)


def test_store_keeps_sessions(store):
    """Saved, saved again, dropped; what comes back is a copy."""
    store.save_session("press", {"a": 1, "b/#": 0})
    store.save_session("mill/m", {})
    store.save_session("press", {"c": 1})
    found = store.sessions()
    assert found == {"press": {"c": 1}, "mill/m": {}}
    found["press"]["x"] = 1
    store.drop_session("mill/m")
    store.drop_session("nobody")
    assert store.sessions() == {"press": {"c": 1}}


def test_store_reads_in_pieces(store):
    """`after` and `limit` page through."""
    store.write(messages(*range(1, 8)))
    assert [one.sequence for one in store.read(2, 3)] == [3, 4, 5]
    assert store.read(7, 3) == []


def test_store_forgets_through_a_number(store):
    """What is above stays."""
    store.write(messages(*range(1, 6)))
    store.forget(3)
    assert [one.sequence for one in store.read(0, 10)] == [4, 5]
    store.forget(3)
    assert len(store.read(0, 10)) == 2


def test_store_forgets_within_what_was_written_together(store):
    """A number in the midst of a batch parts it, for the next store on the same file too."""
    store.write(messages(1, 2, 3))
    store.forget(2)
    assert [one.sequence for one in store.read(0, 10)] == [3]


def test_store_takes_more_than_fits_a_row(store):
    """A batch of any size comes back whole and in order."""
    store.write(messages(*range(1, 1202)))
    assert [one.sequence for one in store.read(0, 2000)] == list(range(1, 1202))
    assert [one.sequence for one in store.read(1199, 2000)] == [1200, 1201]


def test_store_never_uses_a_number_twice(store):
    """The next number grows, also when everything has been forgotten."""
    assert store.next_sequence() == 1
    store.write(messages(1, 2, 3))
    assert store.next_sequence() == 4
    store.forget(3)
    assert store.read(0, 10) == []
    assert store.next_sequence() == 4


def test_sqlite_keeps_messages_and_numbers_over_a_restart(tmp_path):
    """A new store on the same file goes on where the old one stopped, forgotten messages included."""
    path = tmp_path / "messages.db"
    store = SqliteStore(path)
    store.write(messages(1, 2, 3))
    store.forget(2)
    store.close()
    store = SqliteStore(path)
    assert [one.sequence for one in store.read(0, 10)] == [3]
    store.forget(3)
    store.close()
    store = SqliteStore(path)
    assert store.next_sequence() == 4
    store.close()


def test_queues_are_kept_apart(store):
    """Each queue has its own order, forgets its own messages, and is told of with where it stands."""
    store.write_all({UPSTREAM: messages(1, 3), "0 filter/in": messages(2, 4)})
    store.write(messages(5), "0 filter/in")
    assert [one.sequence for one in store.read(0, 10)] == [1, 3]
    assert [one.sequence for one in store.read(2, 10, "0 filter/in")] == [4, 5]
    store.forget(4, "0 filter/in")
    assert (store.count(UPSTREAM), store.count("0 filter/in"), store.count("nobody")) == (2, 1, 0)
    assert store.queues() == {UPSTREAM: 0, "0 filter/in": 4}
    assert (store.read(0, 10, "nobody"), store.next_sequence()) == ([], 6)


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_sqlite_commits_what_it_has_written(tmp_path, durability):
    """When write() has returned, another connection sees the messages; WAL and the durability asked for are on."""
    store = SqliteStore(tmp_path / "messages.db", durability=durability)
    store.write(messages(1))
    other = sqlite3.connect(store.path)
    assert other.execute("SELECT count(*) FROM batch_1").fetchone() == (1,)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert store._database.execute("PRAGMA synchronous").fetchone() == ({"normal": 1, "full": 2}[durability],)
    store.close()


def test_sqlite_with_a_damaged_batch_says_so(tmp_path):
    """What cannot be unpacked is StoreError, and the file is left as it is."""
    store = SqliteStore(tmp_path / "messages.db")
    store._database.execute("INSERT INTO batch_1 VALUES (1, 1, 1, 1, x'ff00')")
    with pytest.raises(StoreError, match="cannot use the message store"):
        store.read(0, 10)
    store.close()


def test_sqlite_file_is_its_owners_alone(tmp_path):
    """No other user may read messages: the file, its log and its lock are 0600 whatever the umask."""
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "messages.db")
        store.write(messages(1))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert "messages.db-wal" in modes


def full(store):
    """Leave the file no room to grow."""
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count={pages}").fetchall()


def test_sqlite_that_is_full_stores_all_or_nothing(tmp_path):
    """StoreError with a hint, nothing of the batch is there, and with room again the same store works."""
    store = SqliteStore(tmp_path / "messages.db")
    store.write(messages(1))
    full(store)
    for _ in range(3):
        with pytest.raises(StoreError, match="messages cannot be stored: database or disk is full") as error:
            store.write(messages(*range(2, 50), size=4096))
        assert error.value.hint == "make room on the disk of --state"
        assert error.value.exit_code == 3
    assert [one.sequence for one in store.read(0, 100)] == [1]
    store._database.execute("PRAGMA max_page_count=1000000").fetchall()
    store.write(messages(2, 3))
    assert [one.sequence for one in store.read(0, 100)] == [1, 2, 3]
    store.close()


def test_sqlite_on_a_full_disk_refuses_and_recovers(tmp_path):
    """A real limit of the operating system (RLIMIT_FSIZE): StoreError, the process lives, later writes work."""
    import resource
    import signal

    store = SqliteStore(tmp_path / "messages.db")
    store.write(messages(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(StoreError):
            store.write(messages(*range(2, 20), size=30_000))
        with pytest.raises(StoreError):
            store.write(messages(*range(2, 20), size=30_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    store.write(messages(2))
    assert [one.sequence for one in store.read(0, 100)] == [1, 2]
    store.forget(2)
    store.close()


def test_sqlite_that_cannot_forget_keeps_everything(tmp_path):
    """StoreError from forget(), nothing is gone, and writing goes on."""
    store = SqliteStore(tmp_path / "messages.db")
    store.write(messages(1))
    store._database.execute("CREATE TRIGGER no BEFORE DELETE ON batch_1 BEGIN SELECT raise(ABORT, 'not now'); END")
    with pytest.raises(StoreError, match="messages cannot be deleted: not now"):
        store.forget(1)
    store.write(messages(2))
    assert [one.sequence for one in store.read(0, 100)] == [1, 2]
    store.close()


def test_sqlite_refuses_a_number_it_has(tmp_path):
    """The same number again is an error, not a replacement."""
    store = SqliteStore(tmp_path / "messages.db")
    store.write(messages(1))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.write(messages(1, size=9))
    assert store.read(0, 10) == messages(1)
    store.close()


def refusal(path):
    """What opening this file says; the file and its folder must not change."""
    before = path.read_bytes()
    with pytest.raises(StoreError) as error:
        SqliteStore(path)
    assert path.read_bytes() == before
    assert error.value.exit_code == 3
    assert "it was not changed" in error.value.hint
    return error.value.message


def test_sqlite_refuses_a_newer_schema(tmp_path):
    """A file of a later version is left alone, with words that say so."""
    path = tmp_path / "messages.db"
    SqliteStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version=5")
    database.close()
    message = refusal(path)
    assert message == f"cannot use the message store {path}: it was written by a newer leafgate (schema 5)"


@pytest.mark.parametrize(
    "content", [b"this is no database, but long enough " * 100, b"SQLite format 3\0" + b"\xff" * 2000]
)
def test_sqlite_refuses_what_is_no_database(tmp_path, content):
    """A text file, or a header with garbage behind it: one clear error, the file unchanged."""
    path = tmp_path / "messages.db"
    path.write_bytes(content)
    assert refusal(path).startswith(f"cannot use the message store {path}: ")


def older(path, version):
    """Turn a file into what an earlier leafgate wrote."""
    database = sqlite3.connect(path)
    database.executescript("""
        ALTER TABLE batch_1 RENAME TO newer;
        CREATE TABLE batch_1 (last INTEGER PRIMARY KEY, messages BLOB NOT NULL);
        INSERT INTO batch_1 SELECT last, messages FROM newer;
        ALTER TABLE queue DROP COLUMN gone;
        ALTER TABLE queue DROP COLUMN part;
        DROP TABLE newer;
    """)
    if version < 3:
        database.executescript("""
            ALTER TABLE batch_1 RENAME TO batch;
            CREATE TABLE forgotten (through INTEGER NOT NULL);
            INSERT INTO forgotten SELECT through FROM queue;
            DROP TABLE queue;
        """)
    if version == 1:
        database.execute("DROP TABLE session")
    database.execute(f"PRAGMA user_version={version}")
    database.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_sqlite_file_of_an_earlier_schema_is_carried_over(tmp_path, version):
    """What waited waits on, what was forgotten stays so, numbers go on, and sessions and queues can be stored."""
    path = tmp_path / "messages.db"
    store = SqliteStore(path)
    store.write(messages(1, 2, 3))
    store.forget(1)
    store.close()
    older(path, version)
    store = SqliteStore(path)
    assert store.count(UPSTREAM) == 2
    store.save_session("press", {"a": 1})
    store.write(messages(4), "0 filter/in")
    assert ([one.sequence for one in store.read(0, 10)], store.sessions()) == ([2, 3], {"press": {"a": 1}})
    assert ([one.sequence for one in store.read(0, 10, "0 filter/in")], store.next_sequence()) == ([4], 5)
    store.close()


def test_sqlite_with_a_damaged_page_is_a_store_error(tmp_path):
    """Damage behind a good header is found when reading, as StoreError."""
    path = tmp_path / "messages.db"
    store = SqliteStore(path)
    store.write(messages(*range(1, 100), size=1000))
    store.close()
    raw = bytearray(path.read_bytes())
    raw[7 * 4096 : 12 * 4096] = b"\xff" * (5 * 4096)
    path.write_bytes(raw)
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="malformed"):
        store.read(0, 1000)
    store.close()


@pytest.mark.parametrize("bad", ["missing folder", "folder in the way"])
def test_sqlite_in_an_impossible_place_is_a_store_error(tmp_path, bad):
    """No folder, or a folder where the file should be."""
    path = tmp_path / "no" / "messages.db" if bad == "missing folder" else tmp_path / "messages.db"
    if bad == "folder in the way":
        path.mkdir()
    with pytest.raises(StoreError, match="cannot use the message store"):
        SqliteStore(path)


def test_sqlite_is_for_one_gateway_at_a_time(tmp_path):
    """A second store on the same file is refused while the first is open, and works afterwards."""
    path = tmp_path / "messages.db"
    first = SqliteStore(path)
    with pytest.raises(StoreError, match="is in use by another gateway") as error:
        SqliteStore(path)
    assert "--state" in error.value.hint
    first.close()
    SqliteStore(path).close()


def test_sqlite_leaves_no_thread_and_no_descriptor(tmp_path):
    """Opening, failing to open and closing leave nothing behind."""
    (tmp_path / "bad.db").write_bytes(b"x" * 5000)
    SqliteStore(tmp_path / "warm.db").close()
    threads, descriptors = threading.active_count(), descriptor_count()
    for _ in range(20):
        SqliteStore(tmp_path / "messages.db").close()
        with pytest.raises(StoreError):
            SqliteStore(tmp_path / "bad.db")
    assert (threading.active_count(), descriptor_count()) == (threads, descriptors)


def test_sqlite_checkpoints_in_the_background(tmp_path):
    """The log is folded into the file without anybody writing or closing; its own thread does it."""
    store = SqliteStore(tmp_path / "messages.db")
    store.write(messages(*range(1, 300), size=1000))
    done = threading.Event()

    def look():
        while not done.is_set():
            other = sqlite3.connect(f"file:{store.path}?immutable=1", uri=True)  # the main file alone, without its log
            try:
                if other.execute("SELECT count(*) FROM batch_1").fetchone() == (1,):
                    done.set()
            except sqlite3.Error:
                pass  # not there yet
            finally:
                other.close()

    looker = threading.Thread(target=look)
    looker.start()
    assert done.wait(20)
    looker.join()
    store.close()


def test_count_follows_everything_that_happens_to_a_queue(store):
    """Written in one row or in many, forgotten in the midst of a row and to the end, dropped singly."""
    store.write(messages(*range(1, 11)))
    store.write(messages(*range(11, 21)))
    store.forget(4)
    assert store.count(UPSTREAM) == 16
    store.drop({6, 7, 12, 20})
    assert store.count(UPSTREAM) == 12
    assert [one.sequence for one in store.read(0, 100)] == [5, 8, 9, 10, 11, *range(13, 20)]
    store.forget(8)
    assert store.count(UPSTREAM) == 10
    store.forget(13)
    assert store.count(UPSTREAM) == 6
    store.forget(13)
    store.forget(20)
    assert (store.count(UPSTREAM), store.read(0, 100), store.next_sequence()) == (0, [], 21)


def test_sqlite_knows_how_many_wait_without_reading_them(tmp_path):
    """Over restarts, with rows that are partly forgotten, emptied or rewritten; and when no message can be read."""
    path = tmp_path / "messages.db"
    store = SqliteStore(path)
    store.write_all({UPSTREAM: messages(*range(1, 11)), "0 filter/in": messages(3)})
    store.write(messages(*range(11, 21)))
    store.write(messages(*range(21, 31)))
    for forget, drop, expected in ((0, set(), 30), (5, set(), 25), (5, {7, 30}, 23), (12, {20}, 16), (19, {29}, 8)):
        store.forget(forget)
        store.drop(drop)
        assert store.count(UPSTREAM) == expected
        store.close()
        store = SqliteStore(path)
        assert (store.count(UPSTREAM), len(store.read(0, 100))) == (expected, expected)
    store._database.execute("UPDATE batch_1 SET messages = x''")
    store.close()
    store = SqliteStore(path)
    assert (store.count(UPSTREAM), store.count("0 filter/in")) == (8, 1)
    store.close()


def test_large_messages_are_read_a_few_at_a_time(tmp_path):
    """However many are asked for, what is read stays in the order of megabytes."""
    store = SqliteStore(tmp_path / "messages.db")
    for number in range(1, 61):
        store.write(messages(number, size=200_000))
    assert 20 <= len(store.read(0, 1_000)) <= 22
    store.close()


def test_memory_has_a_limit_and_room_again(tmp_path):
    """storeLimits.maxSizeBytes: what does not fit is refused whole, and fits once others have gone."""
    store = MemoryStore()
    store.limit(1_000)
    store.write(messages(1, 2, size=400))
    with pytest.raises(StoreError, match="Memory store is full: 824 of 1000 bytes are taken") as full_up:
        store.write_all({UPSTREAM: messages(3, size=100), "0 filter/in": messages(3, size=100)})
    assert "storeLimits.maxSizeBytes" in full_up.value.hint
    assert (store.count(UPSTREAM), store.queues(), store.next_sequence()) == (2, {UPSTREAM: 0}, 3)
    store.drop({2})
    store.write(messages(3, size=400))
    store.forget(1)
    store.write(messages(4, size=400))
    store.limit(None)
    store.write(messages(5, size=4_000))
    assert [one.sequence for one in store.read(0, 9)] == [3, 4, 5]


def test_sqlite_has_no_limit_but_its_disks(tmp_path):
    """As the product, whose limit is for the store in memory alone."""
    store = SqliteStore(tmp_path / "messages.db")
    store.limit(1)
    store.write(messages(1, size=4_000))
    assert store.count(UPSTREAM) == 1
    store.close()
