"""Order, retries, priorities and time to live of what waits for one endpoint."""

import logging

import pytest

from gateway.errors import StoreError
from gateway.hub.messages import Message
from gateway.hub.outbox import Outbox
from gateway.store.memory import MemoryStore

URGENT, USUAL = "0 x", "5 x"


def messages(*numbers, ttl=0, at=0):
    """Messages with these numbers, enqueued at a second of the clock."""
    return [Message(one, "press", None, at * 1000, "{}", "{}", b"", ttl) for one in numbers]


class Room:
    """An outbox with two queues, an endpoint that fails on demand, and a clock."""

    def __init__(self):
        self.time = 1000.0
        self.store = MemoryStore()
        self.got, self.batches, self.failing, self.held = [], [], set(), None
        self.hold = False
        self.later, self.expired, self.own_time = [], 0, -1
        self.outbox = self.new_outbox()
        self.outbox.open(5, USUAL, 0)
        self.outbox.open(0, URGENT, 0)
        self.outbox.pump()

    def new_outbox(self, **options):
        """An outbox on the store."""
        return Outbox(
            self.store,
            self.send,
            lambda: self.time,
            logging.getLogger("test"),
            later=self.later.append,
            time_to_live=lambda: self.own_time,
            expired=self._count,
            **options,
        )

    def _count(self, dropped):
        self.expired += len(dropped)

    def turn(self):
        """One turn of the loop; whether there was anything to do."""
        waiting, self.later[:] = list(self.later), []
        for each in waiting:
            each()
        return bool(waiting)

    def clean_up(self, **options):
        """A clean-up to its end; how many were dropped by it."""
        before = self.expired
        self.outbox.clean_up(**options)
        while self.turn():
            pass
        return self.expired - before

    def send(self, batch, done):
        """Take what is not to fail; with `hold` the answer waits for `answer`."""
        self.batches.append([one.sequence for one in batch])
        failed = [one for one in batch if one.sequence in self.failing]
        self.got += [one.sequence for one in batch if one not in failed]
        if self.hold:
            self.held = lambda: done(failed)
        else:
            done(failed)

    def answer(self):
        """Tell what became of the batch that is under way."""
        held, self.held = self.held, None
        held()

    def add(self, *numbers, queue=USUAL, ttl=0):
        """Store messages and hand them in."""
        batch = messages(*numbers, ttl=ttl, at=int(self.time))
        self.store.write(batch, queue)
        self.outbox.add(int(queue.split()[0]), batch)
        self.outbox.pump()


@pytest.fixture
def room():
    """A fresh room."""
    return Room()


def test_messages_are_sent_at_once_and_in_order(room):
    """What is handed in goes out without a look into the store."""
    room.add(1, 2)
    room.add(3)
    assert (room.batches, room.outbox.idle) == ([[1, 2], [3]], True)


def test_messages_that_failed_are_sent_again_before_all_others(room):
    """After one second, then two, four and so on up to sixty; nothing overtakes them."""
    room.failing = {2}
    room.add(1, 2, 3)
    room.add(4)
    assert (room.got, room.batches) == ([1, 3], [[1, 2, 3]])
    waits = []
    for _ in range(8):
        start = room.time
        count = len(room.batches)
        while len(room.batches) == count:
            room.time += 0.5
            room.outbox.pump()
        waits.append(room.time - start)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    room.failing = set()
    room.time += 60
    room.outbox.pump()
    assert room.got == [1, 3, 2, 4]
    assert room.batches[-1] == [4]


def test_retry_starts_anew_after_success(room):
    """Each failure that follows a success waits one second at first."""
    for number in (1, 2):
        room.failing = {number}
        room.add(number)
        room.failing = set()
        room.time += 1
        room.outbox.pump()
    assert room.got == [1, 2]


def test_endpoint_that_is_back_is_not_kept_waiting(room):
    """Who knows that the endpoint can be reached again says so."""
    room.failing = {1}
    room.add(1)
    room.failing = set()
    room.outbox.pump()
    assert room.got == []
    room.outbox.retry_now()
    assert room.got == [1]


def test_urgent_queue_goes_first(room):
    """While one batch is under way others gather; then the more urgent queue is asked first."""
    room.hold = True
    room.add(1)
    room.add(2, 3)
    room.add(4, queue=URGENT)
    room.hold = False
    room.answer()
    assert room.batches == [[1], [4], [2, 3]]


def test_waiting_messages_are_sent_in_batches_of_a_hundred(room):
    """What waits comes from the store, in the order in which it was stored."""
    room.failing = {1}
    room.add(1)
    room.add(*range(2, 252))
    room.failing = set()
    room.time += 1
    room.outbox.pump()
    while room.turn():
        pass
    assert [len(batch) for batch in room.batches] == [1, 1, 100, 100, 50]
    assert room.got == list(range(1, 252))
    assert room.outbox.idle


def test_backlog_leaves_others_their_turns(room):
    """Two hundred messages a turn at most, and nothing further while one is under way or the hub waits to retry."""
    room.store.write(messages(*range(1, 1_051)), USUAL)
    room.outbox = room.new_outbox()
    room.outbox.open(5, USUAL, 0)
    turns = []
    room.outbox.pump()
    turns.append(len(room.got))
    while room.turn():
        turns.append(len(room.got))
    assert turns == [200, 400, 600, 800, 1_000, 1_050]
    room.failing = {1_060}
    room.add(*range(1_051, 1_351))
    assert (len(room.got), room.later) == (1_149, [])


def test_messages_just_handed_in_all_go_in_their_turn(room):
    """They are what came in one turn of the loop; to read them from the store would cost as much again."""
    room.add(*range(1, 1_001))
    assert (len(room.got), room.later, len(room.batches)) == (1_000, [], 10)


def test_urgent_messages_overtake_a_backlog_between_two_batches(room):
    """They are stored while a long queue is drained; the next batch is theirs."""
    room.store.write(messages(*range(1, 1_001)), USUAL)
    room.outbox = room.new_outbox()
    room.outbox.open(5, USUAL, 0)
    room.outbox.open(0, URGENT, 0)
    room.outbox.pump()
    room.add(2_000, queue=URGENT)
    assert len(room.got) == 400 + 1
    assert room.batches[2] == [2_000]


def test_closed_outbox_touches_nothing(room):
    """What was scheduled before, and what a slow line tells afterwards, finds no store any more."""
    room.hold = True
    room.add(*range(1, 300))
    room.outbox.close()
    room.store = None
    room.outbox._store = None
    room.answer()
    room.outbox.clean_up()
    assert room.turn() is False
    assert len(room.batches) == 1


def test_message_that_outlived_its_time_is_not_sent(room):
    """Its own time counts, or the hub's; below 0 is for ever. What is under way is sent, whatever its age."""
    room.own_time = 3600
    room.failing = {1}
    room.add(1)
    room.add(2, 3, ttl=10)
    room.add(4)
    room.add(5, ttl=10)
    room.add(6, ttl=-1)
    room.time += 3600
    room.failing = set()
    room.add(7, ttl=1)
    room.outbox.retry_now()
    assert (room.got, room.expired) == ([1, 6, 7], 4)


def test_clean_up_drops_from_the_front(room):
    """Up to the first message that lives; with `entire` also behind it. Nothing is dropped twice."""
    room.failing = {1}
    room.add(1)
    room.add(2, 3, ttl=10)
    room.add(4, ttl=100)
    room.add(5, ttl=10)
    room.add(6, ttl=100)
    room.time += 10
    assert room.clean_up() == 2
    assert [one.sequence for one in room.store.read(0, 10, USUAL)] == [1, 2, 3, 4, 5, 6]  # 1 is still to be sent
    assert room.clean_up() == 0
    assert room.clean_up(entire=True) == 1
    assert [one.sequence for one in room.store.read(0, 10, USUAL)] == [1, 2, 3, 4, 6]
    room.failing = set()
    room.outbox.retry_now()
    assert (room.got, room.expired) == ([1, 4, 6], 3)
    room.outbox.settle()
    assert room.store.read(0, 10, USUAL) == []


def test_expiry_is_at_the_second(room):
    """One moment before its time a message stays."""
    room.failing = {1}
    room.add(1)
    room.add(2, ttl=100)
    room.time += 99.999
    assert room.clean_up() == 0
    room.time += 0.001
    assert room.clean_up() == 1


def test_very_many_that_are_too_old_are_dropped_in_turns(room):
    """A thousand a turn, by a clean-up as well as on the way to the first that lives; others are not kept waiting."""
    for clean in (True, False):
        room.outbox = room.new_outbox()
        room.store = room.outbox._store = MemoryStore()
        room.store.write(messages(*range(1, 5_001), ttl=1, at=0), USUAL)
        room.store.write(messages(5_001), USUAL)
        room.outbox.open(5, USUAL, 0)
        room.expired, turns = 0, 1
        room.outbox.clean_up() if clean else room.outbox.pump()
        assert room.expired == 1_000
        while room.turn():
            turns += 1
        assert (room.expired, turns) == (5_000, 6)
    assert room.got == [5_001]


def test_what_arrived_is_forgotten_once_settled(room):
    """The store keeps what is still to be sent, and only that."""
    room.failing = {3}
    room.add(1, 2)
    room.add(3)
    room.add(4)
    room.outbox.settle()
    assert [one.sequence for one in room.store.read(0, 10, USUAL)] == [3, 4]


def test_many_that_arrived_are_forgotten_by_themselves(room):
    """Once five hundred have gone, they are dropped."""
    for first in range(1, 1_600, 100):
        room.add(*range(first, first + 100))
    assert room.store.count(USUAL) < 200


def test_store_that_cannot_forget_is_told_of_once(room, monkeypatch, caplog):
    """Not every second; and once it can, what has arrived is gone."""
    forget = room.store.forget

    def fail(*_):
        raise StoreError("no room to forget")

    monkeypatch.setattr(room.store, "forget", fail)
    room.add(1)
    room.outbox.settle()
    room.outbox.settle()
    assert caplog.text.count("no room to forget") == 1
    monkeypatch.setattr(room.store, "forget", forget)
    room.outbox.settle()
    assert room.store.count(USUAL) == 0


def test_queue_from_before_is_sent_from_where_it_stood(room):
    """A restart goes on behind what was forgotten, also in the midst of a batch that partly failed."""
    room.failing = {2}
    room.add(1, 2, 3)
    again = Room()
    again.store = room.store
    again.outbox = again.new_outbox()
    again.outbox.open(5, USUAL, 0)
    again.outbox.pump()
    assert again.got == [1, 2, 3]  # at least once: nobody knows after a crash that 1 and 3 had arrived


def test_store_that_cannot_be_read_is_tried_again_later(room, monkeypatch, caplog):
    """The error is logged, and after a minute the store is asked again."""
    room.failing = {1}
    room.add(1)
    room.add(2)
    room.failing = set()

    def fail(*_):
        raise StoreError("no such luck")

    read = room.store.read
    monkeypatch.setattr(room.store, "read", fail)
    room.time += 1
    room.outbox.pump()
    assert (room.got, "no such luck" in caplog.text) == ([1], True)
    monkeypatch.setattr(room.store, "read", read)
    room.outbox.pump()
    assert room.got == [1]
    room.time += 60
    room.outbox.pump()
    assert room.got == [1, 2]
