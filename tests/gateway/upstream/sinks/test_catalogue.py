"""Sinks by name: those that are there, and a user's own."""

import re

import pytest

from gateway import Gateway
from gateway.upstream.sinks import SinkError, names, read, register
from gateway.upstream.sinks.file import JsonLinesFile
from tests.gateway import packets as p


class Collector:
    """A user's sink, which knows nothing of the gateway but the three methods."""

    def __init__(self, tag="none"):
        self.tag = tag
        self.told = []

    def open(self):
        """Note it."""
        self.told.append("open")

    def take(self, batch):
        """Keep the bodies."""
        self.told += [one.body for one in batch]

    def close(self):
        """Note it."""
        self.told.append("close")


def test_file_sink_is_there_by_its_entry_point(tmp_path):
    """Its parameters are text, as on a command line."""
    sink = read(f"file:path={tmp_path}/a.jsonl,size=1000,count=2")
    assert isinstance(sink, JsonLinesFile)
    assert (sink.path, sink.size, sink.count) == (tmp_path / "a.jsonl", 1_000, 2)


async def test_sink_of_a_user_is_registered_and_gets_what_arrives(start):
    """By a call; a gateway opens it, gives it every message, and closes it."""
    unregister = register("collector", Collector)
    try:
        assert "collector" in names()
        sink = read("collector:tag=mine")
    finally:
        unregister()
    assert "collector" not in names()
    hub = await start(sinks=[sink])
    client = await hub.join()
    client.send(p.publish(body=b"one"))
    await client.packet()
    await hub.gateway.settled()
    assert b"one" in sink.told
    await hub.gateway.stop()
    assert (sink.tag, sink.told[0], sink.told[-1]) == ("mine", "open", "close")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("flie:path=x", "sink 'flie' does not exist", "did you mean file?"),
        ("kafka", "sink 'kafka' does not exist", "there is file"),
        ("file:path", "sink file: 'path' is no key=value", "write NAME:key=value,key=value"),
        ("file", "sink file: missing a required argument: 'path'", "its parameters: path, size, count"),
        ("file:path=x,colour=red", "sink file: got an unexpected keyword argument 'colour'", "its parameters: path"),
        ("file:path=x,size=0", "sink file: size and count are at least 1", ""),
    ],
)
def test_wrong_sink_is_told_with_what_to_write_instead(text, message, hint):
    """Exit code 2: the command line is wrong."""
    with pytest.raises(SinkError, match=re.escape(message)) as refused:
        read(text)
    assert hint in (refused.value.hint or "")
    assert refused.value.exit_code == 2


async def test_sink_that_cannot_be_opened_stops_the_start(chain, tmp_path):
    """Nothing is left open, and those opened before it are closed."""
    first = Collector()
    with pytest.raises(SinkError, match="cannot write"):
        await Gateway(chain=chain, sinks=[first, JsonLinesFile(tmp_path)]).start()
    assert first.told == ["open", "close"]
