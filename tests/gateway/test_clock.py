"""Injected time."""

import time

import pytest

from gateway import ManualClock, MovableClock, SystemClock


def test_manual_clock_stands_until_it_is_moved():
    """It starts where it is told to; nothing else moves it."""
    clock = ManualClock(5.0)
    assert (clock.now(), clock.monotonic()) == (5.0, 0.0)
    assert (clock.now(), clock.monotonic()) == (5.0, 0.0)


def test_advance_moves_the_hour_of_day_alone():
    """Forth and back; what watches connections stands."""
    clock = ManualClock(100.0)
    clock.advance(50)
    clock.advance(-20)
    assert (clock.now(), clock.monotonic()) == (130.0, 0.0)


def test_elapse_moves_both():
    """Time that passes for connections passes for the hour of day as well."""
    clock = ManualClock(100.0)
    clock.elapse(7.5)
    assert (clock.now(), clock.monotonic()) == (107.5, 7.5)


@pytest.mark.parametrize(
    ("move", "seen"), [("advance", (7, 0, 7, 7)), ("elapse", (7, 7, 7, 7)), ("step", (7, 0, 0, 0))]
)
def test_moves_differ_in_who_notices(move, seen):
    """The hour of day; what watches connections; timers; the leaves, whose clocks a step leaves behind."""
    clock = ManualClock(0.0)
    getattr(clock, move)(7)
    assert (clock.now(), clock.monotonic(), clock.running(), clock.passed()) == seen


def test_manual_clock_starts_at_the_machines_time():
    """Unless told otherwise, so that certificates of today are good by it."""
    before = time.time()
    assert before <= ManualClock().now() <= time.time()


@pytest.mark.parametrize("move", ["advance", "elapse", "step"])
def test_observers_of_a_clock_are_told_once_per_move_until_they_leave(move):
    """They see the new time; one that leaves hears nothing more."""
    clock, seen = ManualClock(0.0), []
    leave = clock.subscribe(lambda: seen.append(clock.now()))
    stay = []
    clock.subscribe(lambda: stay.append(clock.now()))
    getattr(clock, move)(1)
    leave()
    getattr(clock, move)(1)
    assert (seen, stay) == ([1.0], [1.0, 2.0])


def test_observer_may_leave_while_it_is_told():
    """Leaving during a move disturbs no other observer."""
    clock, seen, leaving = ManualClock(0.0), [], []

    def go():
        leaving.pop()()

    leaving.append(clock.subscribe(go))
    clock.subscribe(lambda: seen.append(1))
    clock.advance(1)
    clock.advance(1)
    assert seen == [1, 1]


def test_system_clock_is_the_machines():
    """Its hour of day is seconds since 1970, its monotonic time never goes back, and it never tells anybody."""
    clock, told = SystemClock(), []
    leave = clock.subscribe(lambda: told.append(1))
    assert clock.now() > 1_700_000_000
    assert clock.monotonic() <= clock.monotonic()
    assert clock.running() <= clock.running()
    assert clock.passed() == 0
    leave()
    assert told == []


@pytest.mark.parametrize(
    ("move", "seen"), [("advance", (7, 0, 7, 7)), ("elapse", (7, 7, 7, 7)), ("step", (7, 0, 0, 0))]
)
def test_movable_clock_goes_on_and_can_be_moved(monkeypatch, move, seen):
    """The machine's clocks plus what was added, each as a manual clock has it."""
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    clock = MovableClock()
    assert (clock.now(), clock.monotonic(), clock.running(), clock.passed(), clock.offset) == (1_000, 50, 50, 0, 0)
    getattr(clock, move)(7)
    now, monotonic, running, passed = seen
    assert (clock.now(), clock.monotonic(), clock.running()) == (1_000 + now, 50 + monotonic, 50 + running)
    assert (clock.passed(), clock.offset) == (passed, now)
