"""The line to IoT Hub in all its states."""

import logging

import pytest

from gateway import Inbox
from gateway.hub.messages import Message
from gateway.upstream.link import Link, LinkState


def messages(*numbers, device="press"):
    """Messages with these numbers."""
    return [Message(one, device, None, 0, "{}", "{}", b"") for one in numbers]


class Room:
    """A link with an inbox and a clock."""

    def __init__(self, **options):
        self.time = 0.0
        self.inbox = Inbox()
        self.link = Link(self.inbox, lambda: self.time, logging.getLogger("test"), **options)
        self.back = []

    def send(self, batch):
        """Send; what has to be sent again ends in `back`."""
        self.link.send(batch, lambda failed: self.back.append([one.sequence for one in failed]))

    @property
    def got(self):
        """The numbers that arrived."""
        return [one.gateway_sequence for one in self.inbox.messages]


@pytest.fixture
def room():
    """A line that is up."""
    return Room()


def test_line_that_is_up_delivers_at_once(room):
    """Nothing comes back."""
    room.send(messages(1, 2))
    assert (room.got, room.back, room.link.reachable) == ([1, 2], [[]], True)


@pytest.mark.parametrize("state", ["refused", "dns-gone", "throttled", "quota-exceeded"])
def test_line_that_answers_no_gives_the_batch_back_at_once(room, state):
    """Whole, to be sent again; only the first two mean that IoT Hub cannot be reached."""
    room.link.switch(state)
    room.send(messages(1, 2))
    assert (room.got, room.back, room.link.refused) == ([], [[1, 2]], 1)
    assert room.link.reachable is (state in ("throttled", "quota-exceeded"))


def test_black_hole_gives_the_batch_back_after_thirty_seconds(room):
    """Nobody knows before that it will not arrive."""
    room.link.switch("black-hole")
    room.send(messages(1))
    room.time = 29.9
    room.link.tick()
    assert room.back == []
    room.time = 30.0
    room.link.tick()
    assert (room.got, room.back) == ([], [[1]])


def test_slow_line_takes_its_time(room):
    """Each batch arrives after the latency, not before."""
    room.link.switch("slow", latency=2.5)
    room.send(messages(1))
    room.time = 2.4
    room.link.tick()
    assert room.got == []
    room.time = 2.5
    room.link.tick()
    assert (room.got, room.back) == ([1], [[]])


@pytest.mark.parametrize(("state", "arrives"), [("up", True), ("throttled", True), ("refused", False)])
def test_switching_settles_what_is_under_way(room, state, arrives):
    """A slow batch arrives when the line is better at once, and fails when it is cut."""
    room.link.switch("slow", latency=60)
    room.send(messages(1))
    room.link.switch(state)
    assert (room.got, room.back) == (([1], [[]]) if arrives else ([], [[1]]))


def test_black_hole_that_ends_gives_back_what_fell_in(room):
    """It never arrived, whatever the line is like now."""
    room.link.switch("black-hole")
    room.send(messages(1))
    room.link.switch("up")
    assert (room.got, room.back) == ([], [[1]])


def test_messages_of_a_refused_device_are_dropped_and_others_arrive(room, caplog):
    """As Edge Hub since 1.1.1; a line in the log names the device."""
    room.link.unauthorized.add("mill")
    room.send([*messages(1), *messages(2, device="mill"), *messages(3)])
    assert (room.got, room.back) == ([1, 3], [[]])
    assert "Dropping 1 messages of mill" in caplog.text


def test_messages_of_a_refused_device_come_back_without_device_states():
    """As Edge Hub before: they are tried for ever, and everything behind them waits."""
    room = Room(track_device_state=False)
    room.link.unauthorized.add("mill")
    room.send([*messages(1), *messages(2, device="mill")])
    assert (room.got, room.back) == ([1], [[2]])


def test_switch_tells_whether_the_cloud_could_and_can_be_reached(room):
    """Once for each switch."""
    told = []
    room.link.attach(lambda was, now: told.append((was, now)))
    for state in ("slow", "black-hole", "refused", "up"):
        room.link.switch(state)
    assert told == [(True, True), (True, False), (False, False), (False, True)]
    assert room.link.state is LinkState.UP


def test_unknown_state_is_refused(room):
    """And changes nothing."""
    with pytest.raises(ValueError, match="sideways"):
        room.link.switch("sideways")
    assert room.link.state is LinkState.UP
