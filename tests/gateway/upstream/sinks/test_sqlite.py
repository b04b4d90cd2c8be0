"""The log of what arrived: what it keeps, for how long, and files that are not its own."""

import asyncio
import sqlite3
import stat

import pytest

from gateway.errors import StoreError
from gateway.upstream.sinks import sqlite
from gateway.upstream.sinks.sqlite import SqliteLog
from tests.gateway.upstream.arrivals import batch, facts


@pytest.fixture
def log(tmp_path):
    """An open log."""
    made = SqliteLog(tmp_path / "arrived.db")
    made.open()
    yield made
    made.close()


def test_log_gives_back_what_it_took_also_after_it_was_opened_again(log, tmp_path):
    """Numbers, time, source, senders and messages; the file is its owner's alone."""
    given = [batch(1, b"a", b"\x00\xff"), batch(3, b"c", source="twinChangeEvents", origins={})]
    for each in given:
        log.take(each)
    log.take(batch(4, b"d"))
    expected = facts([*given, batch(4, b"d")])
    assert facts(log.read(0, 4, 10)) == expected
    log.close()
    log.open()
    assert (log.last, facts(log.read(0, 4, 10))) == (4, expected)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_log_reads_from_the_middle_of_a_batch_to_the_middle_of_another(log):
    """And stops once there are as many as asked for."""
    log.take(batch(1, b"1", b"2", b"3"))
    log.take(batch(4, b"4", b"5", b"6"))
    read = [(one.first, [message.body for message in one.messages]) for one in log.read(1, 5, 100)]
    assert read == [(2, [b"2", b"3"]), (4, [b"4", b"5"])]
    assert [one.first for one in log.read(0, 6, 2)] == [1]
    assert log.read(6, 6, 10) == []


def test_large_batch_becomes_several_rows_in_one_transaction(log):
    """No row grows without bound; numbers stay."""
    log.take(batch(1, *[b"x"] * 1_201))
    log.take(batch(1_202, b"y", source="twinChangeEvents"))
    rows = log._database.execute("SELECT last FROM arrived ORDER BY last").fetchall()
    assert rows == [(500,), (1000,), (1201,), (1202,)]
    assert [(one.first, len(one)) for one in log.read(0, 1_202, 10_000)] == [
        (1, 500),
        (501, 500),
        (1_001, 201),
        (1_202, 1),
    ]


def test_log_keeps_the_last_messages_up_to_its_limit(tmp_path):
    """The oldest rows go; the number goes on."""
    log = SqliteLog(tmp_path / "arrived.db", limit=3_000)
    log.open()
    for first in range(1, 10_001, 100):
        log.take(batch(first, *[b"x"] * 100))
    assert log.read(0, 10_000, 1)[0].first == 7_001
    assert (log.forgotten, log.last) == (7_000, 10_000)
    log.close()
    log.open()
    assert (log.forgotten, log.last) == (7_000, 10_000)
    log.close()


def test_log_keeps_about_as_many_bytes_as_it_may(tmp_path):
    """However large the messages are; the file does not grow beyond it for good."""
    log = SqliteLog(tmp_path / "arrived.db", byte_limit=1 << 20)
    log.open()
    for first in range(1, 20_001, 200):
        log.take(batch(first, *[bytes(500)] * 200))
    assert log._bytes(log._database) <= 1 << 20
    assert log.read(0, 20_000, 1)[0].first > 15_000
    log.close()
    assert log.path.stat().st_size < 4 << 20


def test_forgetting_drops_messages_and_keeps_the_number(log):
    """Also for whoever opens the file next."""
    log.take(batch(1, b"a", b"b"))
    log.forget()
    log.close()
    log.open()
    assert (log.last, log.forgotten, log.read(0, 2, 10)) == (2, 2, [])
    log.take(batch(3, b"c"))
    assert facts(log.read(0, 3, 10)) == facts([batch(3, b"c")])


def test_full_disk_is_an_error_and_keeps_what_was_there(log):
    """A real SQLite file that may not grow: StoreError, nothing of the batch is kept, later it works again."""
    log.take(batch(1, b"a"))
    pages = log._database.execute("PRAGMA page_count").fetchone()[0]
    log._database.execute(f"PRAGMA max_page_count={pages}").fetchall()
    with pytest.raises(StoreError, match="the log of what arrived cannot be written: database or disk is full"):
        log.take(batch(2, bytes(300_000), bytes(300_000)))
    assert (log.last, facts(log.read(0, 9, 10))) == (1, facts([batch(1, b"a")]))
    log._database.execute("PRAGMA max_page_count=1000000").fetchall()
    log.take(batch(2, b"b"))
    assert log.last == 2


def _other_program(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE arrived (last, batches)")
    database.close()


def _newer(path):
    log = SqliteLog(path)
    log.open()
    log.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=2")
    database.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"not a database " * 100), "file is not a database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0 torn"), "file is not a database"),
        (_other_program, "it is the database of another program"),
        (_newer, r"it was written by a newer leafgate \(schema 2\)"),
    ],
    ids=["damaged", "torn", "foreign", "newer"],
)
def test_file_that_is_not_ours_is_refused_and_not_changed(tmp_path, make, said):
    """One clear line, with what to do; every byte stays."""
    path = tmp_path / "arrived.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=said) as refused:
        SqliteLog(path).open()
    assert "was not changed" in refused.value.hint
    assert path.read_bytes() == before


def test_damaged_row_is_an_error_when_it_is_read(log):
    """What cannot be unpacked is told, and not skipped."""
    log._database.execute("INSERT INTO arrived VALUES (5, ?)", (b"\xc1",))
    with pytest.raises(StoreError, match="cannot use the log of what arrived"):
        log.read(0, 5, 10)


def test_log_is_for_one_gateway_at_a_time(log):
    """A second one is refused, and the first goes on."""
    with pytest.raises(StoreError, match="in use by another gateway"):
        SqliteLog(log.path).open()
    log.take(batch(1, b"a"))


# -- written later ----------------------------------------------------------------------------------------------------


def rows(log):
    """What is written, by the last number of each row."""
    return [last for (last,) in log._database.execute("SELECT last FROM arrived ORDER BY last")]


async def test_batches_are_written_together_and_can_be_read_before(log):
    """One row for all of them, when somebody flushes or reads."""
    for number in range(1, 4):
        log.take(batch(number, b"x"))
    assert (log.last, rows(log)) == (3, [])
    log.flush()
    assert rows(log) == [3]
    log.take(batch(4, b"y"))
    assert facts(log.read(3, 4, 10)) == facts([batch(4, b"y")])
    assert (log.forgotten, log.last) == (0, 4)


async def test_batches_are_written_by_themselves_after_a_moment(log, monkeypatch):
    """Nobody has to ask; and not one by one when there are many."""
    monkeypatch.setattr(sqlite, "_FLUSH_SECONDS", 0)
    log.take(batch(1, b"x"))
    async with asyncio.timeout(20):
        while not rows(log):  # noqa: ASYNC110 - SQLite tells nobody
            await asyncio.sleep(0)
    monkeypatch.setattr(sqlite, "_FLUSH_SECONDS", 3_600)
    log.take(batch(2, *[b"x"] * 499))
    log.take(batch(501, b"x"))
    assert rows(log) == [1]
    log.take(batch(502, b"x"))
    assert rows(log) == [1, 501]


async def test_crash_leaves_a_gap_and_no_number_twice(tmp_path):
    """What was not written is lost here, for the gateway's store has it; its numbers are not given again."""
    log = SqliteLog(tmp_path / "arrived.db")
    log.open()
    log.take(batch(1, b"written"))
    log.flush()
    log.take(batch(2, b"lost"))
    log._timer.cancel()
    log._checkpointer.stop()
    log._database.close()
    log._lock.close()
    again = SqliteLog(tmp_path / "arrived.db")
    again.open()
    assert (again.last >= 2, again.forgotten) == (True, 0)
    assert facts(again.read(0, again.last, 10)) == facts([batch(1, b"written")])
    again.take(batch(again.last + 1, b"new"))
    last = again.last
    again.close()
    again.open()
    assert again.last == last
    again.close()


async def test_disk_that_is_full_for_a_while_loses_nothing(log):
    """What could not be written waits; whoever needs it written is told, and so is whoever has much more to write."""
    log.take(batch(1, *[bytes(3_000)] * 500))
    pages = log._database.execute("PRAGMA page_count").fetchone()[0]
    log._database.execute(f"PRAGMA max_page_count={pages}").fetchall()
    for write in (log.flush, lambda: log.take(batch(501, b"y"))):
        with pytest.raises(StoreError, match="cannot be written"):
            write()
    assert log.last == 500
    log._database.execute("PRAGMA max_page_count=1000000").fetchall()
    log.take(batch(501, b"z"))
    assert facts(log.read(499, 501, 10)) == facts([batch(1, *[bytes(3_000)] * 500).part(499), batch(501, b"z")])
