"""JSON lines in a file that is turned over."""

import json
import resource
import signal
import stat

import pytest

from gateway.errors import StoreError
from gateway.upstream.event import as_event
from gateway.upstream.sinks import SinkError
from gateway.upstream.sinks.file import JsonLinesFile
from tests.gateway.upstream.arrivals import batch


def lines(path):
    """What is in the file, line by line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_message_is_one_line_in_the_feeds_form(tmp_path):
    """Also a body that is no text; only its owner may read the file."""
    path, given = tmp_path / "arrived.jsonl", batch(1, b"a\nb", b"\x00\xff")
    sink = JsonLinesFile(path)
    sink.open()
    sink.take(given)
    sink.close()
    assert lines(path) == [as_event(one) for one in given]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_goes_on_where_it_was(tmp_path):
    """A second life appends; a line that was torn stays alone."""
    path = tmp_path / "arrived.jsonl"
    path.write_text('{"torn": ')
    for number in (1, 2):
        sink = JsonLinesFile(path)
        sink.open()
        sink.take(batch(number, b"x"))
        sink.close()
    texts = path.read_text().splitlines()
    assert texts[0] == '{"torn": '
    assert [json.loads(text)["sequence"] for text in texts[1:]] == [1, 2]


def test_full_file_is_turned_over_and_the_oldest_goes(tmp_path):
    """Whole lines in each, the newest in the file itself, no more files than asked for."""
    path = tmp_path / "arrived.jsonl"
    sink = JsonLinesFile(path, size="1500", count="3")
    sink.open()
    for first in range(1, 21, 2):
        sink.take(batch(first, b"x", b"y"))
    sink.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["arrived.jsonl", "arrived.jsonl.1", "arrived.jsonl.2"]
    names = [path.with_name("arrived.jsonl.2"), path.with_name("arrived.jsonl.1"), path]
    numbers = [one["sequence"] for name in names for one in lines(name)]
    assert numbers == list(range(numbers[0], 21))
    assert all(name.stat().st_size <= 1_500 for name in names)


def test_line_longer_than_a_file_has_one_to_itself(tmp_path):
    """It is not cut."""
    path = tmp_path / "arrived.jsonl"
    sink = JsonLinesFile(path, size=900, count=4)
    sink.open()
    sink.take(batch(1, b"x", bytes(2_000), b"y"))
    sink.close()
    names = [path.with_name("arrived.jsonl.2"), path.with_name("arrived.jsonl.1"), path]
    assert [len(lines(each)) for each in names] == [1, 1, 1]


def test_single_file_starts_again_when_it_is_full(tmp_path):
    """With a count of 1 nothing else is left behind."""
    path = tmp_path / "arrived.jsonl"
    sink = JsonLinesFile(path, size=600, count=1)
    sink.open()
    for number in range(1, 4):
        sink.take(batch(number, b"x"))
    sink.close()
    assert [one["sequence"] for one in lines(path)] == [3]
    assert [each.name for each in tmp_path.iterdir()] == ["arrived.jsonl"]


def test_full_disk_leaves_whole_lines(tmp_path):
    """A real file that may not grow (RLIMIT_FSIZE): StoreError, and the half line is taken back."""
    path = tmp_path / "arrived.jsonl"
    sink = JsonLinesFile(path)
    sink.open()
    sink.take(batch(1, b"x"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
        with pytest.raises(StoreError, match="File too large"):
            sink.take(batch(2, bytes(1_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    sink.take(batch(3, b"z"))
    sink.close()
    assert [one["sequence"] for one in lines(path)] == [1, 3]


def test_file_that_cannot_be_written_stops_the_start(tmp_path):
    """SinkError names the file and why."""
    with pytest.raises(SinkError, match=f"cannot write {tmp_path}: Is a directory"):
        JsonLinesFile(tmp_path).open()
    assert list(tmp_path.iterdir()) == []
