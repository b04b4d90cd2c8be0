"""Reading what arrived by number."""

import asyncio
import base64

import pytest

from gateway import Inbox
from gateway.upstream import feed as feed_module
from gateway.upstream.event import as_event
from gateway.upstream.feed import Feed, Filter, Page
from gateway.upstream.sinks.sqlite import SqliteLog
from tests.gateway.upstream.arrivals import message


def numbers(page):
    """The page with nothing of its messages but their numbers."""
    return Page([one.sequence for one in page.events], page.next, page.missed)


@pytest.fixture
def inbox():
    """An inbox with messages of two devices, a module and IoT Hub itself."""
    made = Inbox()
    made.deliver([message(1), message(2, "mill"), message(3, "mill", "filter")])
    made.deliver([message(0, "mill")], "twinChangeEvents")
    return made


def test_reader_goes_on_with_the_number_it_got(inbox):
    """Everything once; nothing new is an empty page with the same number."""
    feed = Feed(inbox)
    assert numbers(feed.read(0, limit=3)) == ([1, 2, 3], 3, 0)
    assert numbers(feed.read(3)) == ([4], 4, 0)
    assert numbers(feed.read(4)) == ([], 4, 0)
    assert numbers(Feed(Inbox()).read(0)) == ([], 0, 0)


def test_number_from_the_future_starts_anew(inbox):
    """A reader that knew an earlier life of a gateway without state goes on with this one."""
    assert numbers(Feed(inbox).read(99)) == ([], 4, 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(device="press"), [1]),
        (Filter(device="mill"), [2, 3, 4]),
        (Filter(device="mill/filter"), [3]),
        (Filter(source="twinChangeEvents"), [4]),
        (Filter(device="press", source="twinChangeEvents"), []),
    ],
)
def test_filter_leaves_out_what_is_not_wanted(inbox, wanted, expected):
    """The number goes past it all the same, so that nothing is looked at twice."""
    assert numbers(Feed(inbox).read(0, wanted)) == (expected, 4, 0)


def test_page_has_no_more_than_it_may(inbox, monkeypatch):
    """Neither messages nor bytes, nor what was looked at without being wanted."""
    monkeypatch.setattr(feed_module, "MOST_BYTES", 2_000)
    for number in range(5, 8):
        inbox.deliver([message(number, body=bytes(1_500))])
    assert numbers(Feed(inbox).read(4)) == ([5, 6], 6, 0)
    monkeypatch.setattr(feed_module, "MOST_LOOKED_AT", 2)
    assert numbers(Feed(inbox).read(0, Filter(device="nobody"))) == ([], 3, 0)
    assert numbers(Feed(inbox).read(3, Filter(device="nobody"))) == ([], 5, 0)


def test_reader_is_told_what_it_missed():
    """Messages that had to go are counted."""
    inbox = Inbox(limit=2)
    inbox.deliver([message(number) for number in range(1, 6)])
    assert numbers(Feed(inbox).read(1)) == ([4, 5], 5, 2)


def test_older_messages_come_from_the_log(tmp_path):
    """What memory has forgotten, and what an earlier life of the gateway had; the same facts as from memory."""
    log = SqliteLog(tmp_path / "arrived.db")
    for lives in range(2):
        inbox = Inbox(limit=3, now=lambda: 1_700_000_000.0)
        inbox.open([log])
        for number in range(1, 6):
            inbox.deliver([message(number, body=b"%d" % (10 * lives + number))])
        feed = Feed(inbox)
        page = feed.read(0)
        inbox.close()
    assert [(one.sequence, one.body) for one in page.events] == [
        (number, b"%d" % body) for number, body in enumerate([1, 2, 3, 4, 5, 11, 12, 13, 14, 15], 1)
    ]
    old, new = page.events[0], page.events[-1]
    assert (old.enqueued_time, old.gateway_time) == (new.enqueued_time, new.gateway_time)
    assert (old.properties, old.system_properties) == (new.properties, new.system_properties)


def test_long_log_is_read_in_pieces(tmp_path, monkeypatch):
    """One after the other, each bounded."""
    monkeypatch.setattr(feed_module, "MOST_LOOKED_AT", 10)
    inbox = Inbox(limit=5)
    inbox.open([SqliteLog(tmp_path / "arrived.db")])
    for number in range(1, 41):
        inbox.deliver([message(number)])
    feed, after, found = Feed(inbox), 0, []
    while after < 40:
        page = feed.read(after)
        assert 0 < len(page.events) <= 20
        found += [one.sequence for one in page.events]
        after = page.next
    assert found == list(range(1, 41))
    inbox.close()


async def test_poll_waits_for_the_next_message(inbox):
    """It answers when one is there; one that is not wanted lets it wait on."""
    feed = Feed(inbox)
    waiting = asyncio.ensure_future(feed.poll(4, 60, Filter(device="press")))
    await asyncio.sleep(0)
    inbox.deliver([message(8, "mill")])
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    inbox.deliver([message(9)])
    assert numbers(await waiting) == ([6], 6, 0)


async def test_poll_gives_up_when_its_time_is_over(inbox):
    """With the number to go on with."""
    assert numbers(await Feed(inbox).poll(2, 0.01, Filter(device="nobody"))) == ([], 4, 0)


def test_event_has_the_form_that_programs_rely_on(inbox):
    """Every key, by the published interface."""
    inbox = Inbox(now=lambda: 1_700_000_000.5)
    inbox.deliver([message(1, "mill", "filter", body=b"\x00hi", system='{"content-type":"text/plain"}')])
    event = as_event(inbox.messages[0])
    system = event.pop("systemProperties")
    assert event == {
        "deviceId": "mill",
        "moduleId": "filter",
        "source": "Telemetry",
        "enqueuedTime": "2023-11-14T22:13:20.500Z",
        "sequence": 1,
        "properties": {"a": None},
        "body": base64.b64encode(b"\x00hi").decode(),
    }
    assert (system["content-type"], system["iothub-connection-module-id"]) == ("text/plain", "filter")
