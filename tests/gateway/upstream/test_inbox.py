"""What arrived upstream: order, limit, waiting."""

import asyncio
import json

import pytest

from gateway import Inbox, StoreError
from gateway.hub.messages import Message
from gateway.upstream.arrivals import Origin
from gateway.upstream.sinks.sqlite import SqliteLog
from tests.gateway.upstream.arrivals import ORIGIN


def message(sequence, device="press", body=b"{}"):
    """A stored message."""
    return Message(sequence, device, None, 1_700_000_000_123, '{"a":null}', '{"message-id":"7"}', body)


def test_inbox_shows_messages_as_a_back_end_reads_them():
    """Properties are mappings, the time has milliseconds and a zone, json() reads the body."""
    inbox = Inbox(now=lambda: 1_700_000_060.123)
    inbox.deliver([message(41, body=b'{"t": 1.5}')])
    (one,) = inbox.messages
    assert (one.sequence, one.device_id, one.module_id) == (1, "press", None)
    assert (one.properties, one.system_properties) == ({"a": None}, {"message-id": "7"})
    assert one.enqueued_time.isoformat() == "2023-11-14T22:14:20.123000+00:00"
    assert (one.gateway_sequence, one.gateway_time.isoformat()) == (41, "2023-11-14T22:13:20.123000+00:00")
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
    inbox.deliver([message(6)])
    assert [one.sequence for one in inbox.messages] == [6]


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


# -- sinks ------------------------------------------------------------------------------------------------------------


class Sink:
    """A sink that notes what it gets, and fails or takes its time when it is told to."""

    def __init__(self):
        self.got = []
        self.wrong = None
        self.answer = None

    def open(self):
        """Nothing to do."""

    def take(self, batch):
        """Note the numbers and the source."""
        if self.wrong is not None:
            raise self.wrong
        self.got.append([(one.sequence, one.source) for one in batch])
        return self.answer

    def close(self):
        """Nothing to do."""


def outcomes(inbox, *messages):
    """Give messages to an inbox, and the list into which goes what has to be sent again."""
    told = []
    inbox.receive(messages, lambda again: told.append([one.sequence for one in again]))
    return told


def test_every_sink_has_a_message_before_its_sender_is_told():
    """And then it can be read."""
    inbox, sink, told = Inbox(), Sink(), []
    inbox.open([sink])
    inbox.receive([message(7), message(8)], lambda again: told.append((list(again), list(sink.got), len(inbox))))
    assert told == [([], [[(1, "Telemetry"), (2, "Telemetry")]], 2)]


def test_batch_that_a_sink_does_not_take_is_sent_again(caplog):
    """It has not arrived for anybody; the next one gets numbers that no sink can have seen."""
    inbox, good, bad = Inbox(), Sink(), Sink()
    inbox.open([good, bad])
    bad.wrong = StoreError("the disk is full")
    told = outcomes(inbox, message(7), message(8))
    assert (told, inbox.messages, caplog.messages) == ([[7, 8]], (), ["the disk is full"])
    bad.wrong = None
    told = outcomes(inbox, message(7), message(8))
    assert (told, bad.got) == ([[]], [[(3, "Telemetry"), (4, "Telemetry")]])
    assert [one.sequence for one in inbox.messages] == [3, 4]


def test_sink_that_breaks_is_an_error_like_any_other(caplog):
    """Somebody else's exception does not end the gateway, and its message is sent again."""
    inbox, sink = Inbox(), Sink()
    inbox.open([sink])
    sink.wrong = KeyError("colour")
    told = outcomes(inbox, message(7))
    assert (told, caplog.messages) == ([[7]], ["the sink Sink failed: KeyError: 'colour'"])


@pytest.mark.parametrize("arrives", [True, False])
async def test_sink_that_takes_its_time_is_waited_for(arrives):
    """A broker, say: the sender is told when it has answered; what it refuses is sent again."""
    inbox, sink = Inbox(), Sink()
    inbox.open([sink])
    sink.answer = asyncio.get_running_loop().create_future()
    told = outcomes(inbox, message(7))
    await asyncio.sleep(0)
    assert told == []
    sink.answer.set_result(None) if arrives else sink.answer.set_exception(StoreError("the broker is gone"))
    for _ in range(5):  # turns of the loop, of which it needs two
        await asyncio.sleep(0)
    assert told == ([[]] if arrives else [[7]])


def test_numbers_go_on_behind_a_log(tmp_path):
    """Over a restart, and over a disk that was full: the log refused, so nobody has seen the numbers."""
    log = SqliteLog(tmp_path / "arrived.db")
    inbox = Inbox()
    inbox.open([log])
    inbox.deliver([message(1), message(2)])
    pages = log._database.execute("PRAGMA page_count").fetchone()[0]
    log._database.execute(f"PRAGMA max_page_count={pages}").fetchall()
    inbox.deliver([message(3, body=bytes(100_000))])
    assert [one.gateway_sequence for one in inbox.messages] == [1, 2]
    log._database.execute("PRAGMA max_page_count=1000000").fetchall()
    inbox.close()
    again = Inbox()
    again.open([log])
    again.deliver([message(3)])
    assert [one.sequence for one in again.messages] == [3]
    again.close()


def test_message_carries_what_iot_hub_knows_of_its_sender():
    """Annotations as IoT Hub makes them; a stranger has no authentication."""
    inbox = Inbox(now=lambda: 1_700_000_000.5)
    inbox.origins_of = lambda clients: {client: ORIGIN for client in clients if client == ("press", None)}
    inbox.deliver([message(1), message(2, "stranger")])
    known, stranger = inbox.messages
    assert known.annotations == {
        "iothub-connection-device-id": "press",
        "iothub-connection-auth-method": '{"scope":"device","type":"sas","issuer":"iothub"}',
        "iothub-connection-auth-generation-id": "637",
        "iothub-enqueuedtime": 1_700_000_000_500,
        "iothub-message-source": "Telemetry",
        "x-opt-sequence-number": 1,
        "x-opt-offset": "1",
        "x-opt-enqueued-time": 1_700_000_000_500,
    }
    assert not {name for name in stranger.annotations if name.startswith("iothub-connection-auth")}


def test_other_sources_are_handed_out_to_those_who_ask_for_them():
    """Telemetry is what everybody else means."""
    inbox = Inbox()
    inbox.deliver([message(1)])
    inbox.deliver([message(0)], "twinChangeEvents")
    assert [one.sequence for one in inbox.messages] == [1]
    assert inbox.take(source="twinChangeEvents").sequence == 2
    assert (inbox.take().sequence, inbox.take(), inbox.take(source="twinChangeEvents")) == (1, None, None)


def test_messages_of_many_devices_are_handed_out_in_any_order():
    """Each once, whether asked for by device or not; what had to go is not remembered for ever."""
    inbox = Inbox(limit=3_000)
    for first in range(0, 9_000, 3):
        inbox.deliver([message(first + number, name) for number, name in enumerate("abc")])
        inbox.take("b")
    assert len(inbox._handouts._handed) <= 4_001
    left = [one.device_id for one in iter(inbox.take, None)]
    assert left == ["a", "c"] * 1_000


@pytest.mark.parametrize(
    ("client", "kind", "method"),
    [
        (("press", None), "sas", {"scope": "device", "type": "sas", "issuer": "iothub"}),
        (("press", "filter"), "sas", {"scope": "module", "type": "sas", "issuer": "iothub"}),
        (("press", None), "selfSigned", {"scope": "device", "type": "x509", "issuer": "external"}),
        (("press", None), "certificateAuthority", {"scope": "device", "type": "x509", "issuer": "external"}),
    ],
)
def test_way_in_which_a_sender_is_authenticated_is_told(client, kind, method):
    """As JSON, for back ends that trust no property that a device could have written."""
    inbox = Inbox()
    inbox.origins_of = lambda clients: dict.fromkeys(clients, Origin("1", kind))
    device, module = client
    inbox.deliver([message(1, device)._replace(module_id=module)])
    assert json.loads(inbox.messages[0].annotations["iothub-connection-auth-method"]) == method
