"""What the Edge Hub believes about its link, and when it probes."""

import logging

import pytest

from gateway.hub.connectivity import Connectivity, State


class Room:
    """A Connectivity with a clock, whose probes come out as `answers` says (None: nothing comes back)."""

    def __init__(self, answers=None):
        self.time = 0.0
        self.answers = answers
        self.probes = []
        self.connected = 0
        self.it = Connectivity(self._probe, 300.0, lambda: self.time, logging.getLogger("test"))
        self.it.observe(self._connected)

    def _connected(self):
        self.connected += 1

    def _probe(self):
        self.probes.append(self.time)
        if self.answers is not None:
            self.it.told(self.answers)

    def pass_time(self, until):
        """Let time pass second by second."""
        while self.time < until:
            self.time += 1.0
            self.it.tick()


@pytest.fixture
def room(caplog):
    """One that has been connected for no time."""
    caplog.set_level(logging.INFO)
    made = Room(answers=True)
    made.it.told(True)
    caplog.clear()
    return made


def test_first_operation_that_succeeds_connects(caplog):
    """Until then it believes that the cloud is away; its observer is told."""
    caplog.set_level(logging.INFO)
    room = Room()
    assert room.it.state is State.DISCONNECTED
    room.it.told(True)
    assert (room.it.state, room.connected) == (State.CONNECTED, 1)
    created = "connected check frequency 00:05:00 and disconnected check frequency 00:02:00"
    assert caplog.messages == [
        f"Created DeviceConnectivityManager with {created}",
        "Exiting disconnected state",
        "Entering connected state",
    ]


def test_connected_it_probes_after_five_minutes_of_silence(room):
    """Each operation that succeeds starts them anew, and a probe is one."""
    room.pass_time(200)
    room.it.told(True)
    room.pass_time(1_100)
    assert room.probes == [500.0, 800.0, 1_100.0]
    assert (room.it.state, room.connected) == (State.CONNECTED, 1)


def test_one_operation_that_is_not_answered_is_checked(room, caplog):
    """The probe succeeds: nothing has happened, nobody is told."""
    room.it.told(False)
    assert (room.it.state, room.probes, room.connected, room.it.offline_count) == (State.CONNECTED, [0.0], 1, 0)
    assert caplog.messages == ["Exiting connected state", "Entering unreachable state", "Entering connected state"]


def test_operation_and_probe_without_an_answer_disconnect(room, caplog):
    """The outage begins then; it is over with the first operation that succeeds, and the observer is told."""
    room.answers = False
    room.pass_time(10)
    room.it.told(False)
    assert (room.it.state, room.it.offline_count) == (State.DISCONNECTED, 1)
    room.pass_time(100)
    room.it.told(True)
    assert (room.it.state, room.connected, room.it.offline_durations[1:]) == (State.CONNECTED, 2, [90.0])
    assert caplog.messages == [
        "Exiting connected state",
        "Entering unreachable state",
        "Entering disconnected state",
        "Exiting disconnected state",
        "Entering connected state",
    ]


def test_disconnected_it_probes_every_two_minutes(room):
    """Counted from the last operation that was not answered."""
    room.answers = False
    room.it.told(False)
    room.probes.clear()
    room.pass_time(100)
    room.it.told(False)
    room.pass_time(460)
    assert room.probes == [220.0, 340.0, 460.0]
    room.answers = True
    room.pass_time(580)
    assert (room.it.state, room.connected) == (State.CONNECTED, 2)


def test_probe_that_hangs_is_not_repeated(room):
    """It is unsure until the probe, or another operation, has come out."""
    room.answers = None
    room.it.told(False)
    room.pass_time(1_000)
    assert (room.it.state, room.probes) == (State.TRYING, [0.0])
    room.it.told(False)
    assert room.it.state is State.DISCONNECTED


def test_gateway_that_starts_without_the_cloud_probes_first_after_five_minutes():
    """The timer for that state starts with the first operation that fails in it."""
    room = Room(answers=False)
    room.pass_time(540)
    assert (room.probes, room.it.offline_count) == ([300.0, 420.0, 540.0], 0)
