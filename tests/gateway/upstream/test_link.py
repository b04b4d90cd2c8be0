"""The line to IoT Hub in all its states."""

import logging

import pytest

from gateway import Inbox
from gateway.hub.cloud import Failure
from gateway.hub.messages import Message
from gateway.upstream import link
from gateway.upstream.link import SCOPE, Link, LinkState, Patience

OPERATION = Patience(0, 20)


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


@pytest.mark.parametrize(("state", "arrives"), [("up", True), ("throttled", False), ("refused", False)])
def test_switching_settles_what_is_under_way(room, state, arrives):
    """A slow batch comes out as the new state says: it arrives, is refused, or fails with the line."""
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
    assert caplog.messages == ["Non retryable exception occurred while sending message for client mill."]


def test_messages_of_a_refused_device_come_back_without_device_states():
    """As Edge Hub before: they are tried for ever, and everything behind them waits."""
    room = Room(track_device_state=False)
    room.link.unauthorized.add("mill")
    room.send([*messages(1), *messages(2, device="mill")])
    assert (room.got, room.back) == ([1], [[2]])


def asked(room, who="press", patience=OPERATION):
    """Ask for something on behalf of a client; the list has what came of it."""
    ended = []
    room.link.ask(who, lambda: ended.append("done"), ended.append, patience)
    return ended


@pytest.mark.parametrize(
    ("state", "seconds", "outcome"),
    [
        ("up", 0, "done"),
        ("refused", 0, Failure.UNREACHABLE),
        ("dns-gone", 0, Failure.UNREACHABLE),
        ("black-hole", 20, Failure.TIMED_OUT),
        ("slow", 3, "done"),
        ("throttled", 0, Failure.THROTTLED),
        ("quota-exceeded", 0, Failure.QUOTA),
    ],
)
def test_question_ends_as_the_state_says(room, state, seconds, outcome):
    """At its time and not before, once."""
    room.link.switch(state, latency=3)
    ended = asked(room)
    if seconds:
        room.time = seconds - 0.1
        room.link.tick()
        assert ended == []
        room.time = seconds
        room.link.tick()
    room.link.tick()
    assert ended == [outcome]


def test_connection_that_is_refused_is_tried_as_long_as_the_asker_wants(room):
    """The device scope is asked for three times before it is given up."""
    room.link.switch("refused")
    ended = asked(room, patience=SCOPE)
    room.time = 5.9
    room.link.tick()
    assert ended == []
    room.time = 6.0
    room.link.tick()
    assert ended == [Failure.UNREACHABLE]


@pytest.mark.parametrize(("state", "outcome"), [("up", "done"), ("throttled", Failure.THROTTLED)])
def test_question_in_a_black_hole_is_answered_when_that_ends(room, state, outcome):
    """The connection sends it again, unlike a batch."""
    room.link.switch("black-hole")
    ended = asked(room)
    room.link.switch(state)
    assert ended == [outcome]


def test_device_that_is_refused_is_told_so_and_others_are_served(room):
    """Its modules too; not while nobody answers."""
    room.link.unauthorized.add("mill")
    assert (asked(room, "mill"), asked(room, "mill/m"), asked(room), asked(room, None)) == (
        [Failure.UNAUTHORIZED],
        [Failure.UNAUTHORIZED],
        ["done"],
        ["done"],
    )
    assert (room.link.admits("mill"), room.link.admits("press")) == (False, True)
    room.link.switch("refused")
    assert asked(room, "mill") == [Failure.UNREACHABLE]


def test_watcher_hears_what_says_something_about_the_connection(room):
    """Answers and silence; not that IoT Hub has refused something, nor what became of a question over HTTPS."""
    heard = []
    room.link.watch(heard.append)
    for state in ("up", "throttled", "quota-exceeded", "refused", "dns-gone"):
        room.link.switch(state)
        asked(room)
        room.send(messages(1))
        asked(room, patience=Patience(0, 0, checks=False))
    assert heard == [True, True, False, False, False, False]


def test_switch_that_is_noticed_is_heard_at_once(room):
    """As operations would tell it: one that succeeds, or two that do not."""
    heard = []
    room.link.watch(heard.append)
    room.link.switch("refused")
    assert heard == []
    room.link.switch("refused", noticed=True)
    room.link.switch("up", noticed=True)
    assert heard == [False, False, True]


def test_questions_under_way_are_bounded_and_forgotten_with_the_gateway(room, monkeypatch):
    """One too many fails at once; nobody who has gone is told."""
    monkeypatch.setattr(link, "_MOST_UNDER_WAY", 1)
    room.link.switch("black-hole")
    first, second = asked(room), asked(room)
    assert (first, second) == ([], [Failure.UNREACHABLE])
    room.link.watch(None)
    room.link.switch("up")
    assert first == []


@pytest.mark.parametrize("state", ["refused", "black-hole"])
def test_batch_that_finds_no_connection_names_its_clients(room, state, caplog):
    """A warning as the product has it, one for each client."""
    room.link.switch(state)
    room.send([*messages(1, 2), *messages(3, device="mill")])
    room.time = 30.0
    room.link.tick()
    text = "Could not get an active Iot Hub connection for client "
    assert [line for line in caplog.messages if line.startswith(text)] == [f"{text}press", f"{text}mill"]


def test_batch_that_is_throttled_is_told_at_debug(room, caplog):
    """So does the product."""
    caplog.set_level(logging.DEBUG)
    room.link.switch("throttled")
    room.send(messages(1))
    said = "Retrying sending message from press to Iot Hub due to exception IotHubThrottledException."
    assert caplog.messages[-1] == said


@pytest.mark.parametrize(
    ("state", "unauthorized", "said"),
    [("up", (), "up"), ("slow", (), "slow (1.5 s)"), ("refused", ("mill", "a"), "refused, unauthorized: a, mill")],
)
def test_state_in_words(room, state, unauthorized, said):
    """With the latency where it counts, and whom IoT Hub does not accept."""
    room.link.unauthorized.update(unauthorized)
    room.link.switch(state, latency=1.5)
    assert room.link.describe() == said


def test_unknown_state_is_refused(room):
    """And changes nothing."""
    with pytest.raises(ValueError, match="sideways"):
        room.link.switch("sideways")
    assert room.link.state is LinkState.UP
