"""What arrived upstream: order, limit, waiting."""

import asyncio

import pytest

from gateway import Inbox
from gateway.hub.messages import Message


def message(sequence, device="press", body=b"{}"):
    """A stored message."""
    return Message(sequence, device, None, 1_700_000_000_123, '{"a":null}', '{"message-id":"7"}', body)


def test_inbox_shows_messages_as_a_back_end_reads_them():
    """Properties are mappings, the time has milliseconds and a zone, json() reads the body."""
    inbox = Inbox()
    inbox.deliver([message(1, body=b'{"t": 1.5}')])
    (one,) = inbox.messages
    assert (one.sequence, one.device_id, one.module_id) == (1, "press", None)
    assert (one.properties, one.system_properties) == ({"a": None}, {"message-id": "7"})
    assert one.enqueued_time.isoformat() == "2023-11-14T22:13:20.123000+00:00"
    assert one.json() == {"t": 1.5}


def test_inbox_keeps_the_last_messages_up_to_its_limit():
    """The oldest go, and are counted."""
    inbox = Inbox(limit=3)
    inbox.deliver([message(1), message(2)])
    inbox.deliver([message(3), message(4), message(5)])
    assert [one.sequence for one in inbox.messages] == [3, 4, 5]
    assert (len(inbox), inbox.forgotten) == (3, 2)
    inbox.clear()
    assert (len(inbox), inbox.messages) == (0, ())


async def test_next_message_hands_each_out_once_in_order():
    """One after the other, those kept and those that come later; looking at `messages` takes nothing."""
    inbox = Inbox()
    inbox.deliver([message(1), message(2)])
    assert (await inbox.next_message()).sequence == 1
    assert len(inbox.messages) == 2
    assert (await inbox.next_message()).sequence == 2
    waiting = asyncio.ensure_future(inbox.next_message())
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.deliver([message(3), message(4)])
    assert (await waiting).sequence == 3
    assert (await inbox.next_message()).sequence == 4


async def test_next_message_of_a_device_leaves_those_of_others():
    """Asking for one device's message first does not lose what another device sent before it."""
    inbox = Inbox()
    inbox.deliver([message(1, "a"), message(2, "b"), message(3, "a")])
    assert (await inbox.next_message("b")).sequence == 2
    assert (await inbox.next_message("a")).sequence == 1
    assert (await inbox.next_message()).sequence == 3


async def test_next_message_for_several_waiters_at_once():
    """Two tasks that wait for different devices each get their own, and two for the same get one each."""
    inbox = Inbox()
    inbox.deliver([message(1, "c")])
    waiters = [asyncio.ensure_future(inbox.next_message(name, timeout=10)) for name in ("a", "b", "b")]
    await asyncio.sleep(0)
    for each in (message(2, "b"), message(3, "c"), message(4, "a"), message(5, "b")):
        inbox.deliver([each])
        await asyncio.sleep(0)
    assert [(one.device_id, one.sequence) for one in await asyncio.gather(*waiters)] == [("a", 4), ("b", 2), ("b", 5)]


async def test_next_message_gives_up_after_its_timeout():
    """TimeoutError, and the message that comes afterwards is still there for the next call."""
    inbox = Inbox()
    inbox.deliver([message(1, "other")])
    with pytest.raises(TimeoutError):
        await inbox.next_message("press", timeout=0)
    inbox.deliver([message(2)])
    assert (await inbox.next_message("press", timeout=0)).sequence == 2


async def test_next_message_when_the_waiting_ones_had_to_go():
    """Messages beyond the limit are not handed out any more."""
    inbox = Inbox(limit=2)
    inbox.deliver([message(1), message(2), message(3)])
    assert (await inbox.next_message(timeout=0)).sequence == 2


def test_inbox_keeps_no_more_bytes_than_it_may():
    """Large messages push out older ones long before there are many; what is left can still be asked for."""
    inbox = Inbox(byte_limit=100_000)
    inbox.deliver([message(number, body=bytes(30_000)) for number in range(1, 6)])
    assert [one.sequence for one in inbox.messages] == [3, 4, 5]
    assert inbox.forgotten == 2


async def test_inbox_hands_out_nothing_that_had_to_go():
    """The next message after a flood is the oldest that was kept."""
    inbox = Inbox(limit=2)
    inbox.deliver([message(1), message(2), message(3)])
    assert (await inbox.next_message()).sequence == 2


async def test_waiting_finds_what_arrives_with_a_smaller_number():
    """Urgent messages and repetitions arrive out of the order of their numbers; who waits gets them all the same."""
    inbox = Inbox()
    inbox.deliver([message(9, "mill")])
    waiting = asyncio.create_task(inbox.next_message("press", timeout=20))
    await asyncio.sleep(0)
    inbox.deliver([message(2)])
    assert (await waiting).sequence == 2
