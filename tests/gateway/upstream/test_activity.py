"""When clients came, went and were last heard of."""

import pytest

from gateway import ManualClock, StoreError
from gateway.upstream.activity import Activity, Times
from gateway.upstream.database import HubDatabase


@pytest.fixture
def clock():
    """A clock that stands at 1000."""
    return ManualClock(1_000.0)


def test_client_that_never_came_has_no_times(clock):
    """Zero is never."""
    assert Activity(clock.now).times("press") == Times(0.0, 0.0)


def test_connection_changes_the_state_and_a_message_does_not(clock):
    """Both are activity."""
    activity = Activity(clock.now)
    activity.connection_changed("press", connected=True)
    clock.advance(5)
    activity.seen(["press", "press/filter"])
    assert (activity.times("press"), activity.times("press/filter")) == (Times(1_000, 1_005), Times(0, 1_005))
    clock.advance(5)
    activity.connection_changed("press", connected=False)
    assert activity.times("press") == Times(1_010, 1_010)


def test_connection_that_takes_over_changes_no_state(clock):
    """The new one is there before the old one is over."""
    activity = Activity(clock.now)
    activity.connection_changed("press", connected=True)
    clock.advance(5)
    activity.connection_changed("press", connected=True)
    activity.connection_changed("press", connected=False)
    assert activity.times("press") == Times(1_000, 1_000)
    activity.connection_changed("press", connected=False)
    assert activity.times("press") == Times(1_005, 1_005)


def test_times_are_written_once_a_minute_and_not_for_each_message(clock, keeper):
    """One write for all that has been waiting; nothing is written while nothing happens."""
    activity = Activity(clock.now, keeper)
    for _ in range(120):
        activity.seen(["press", "lathe"])
        activity.tick()
        clock.advance(1)
    assert keeper.writes == 1
    assert Activity(clock.now, keeper).times("press") == Times(0, 1_060)
    activity.flush()
    assert Activity(clock.now, keeper).times("lathe") == Times(0, 1_119)
    clock.advance(600)
    activity.tick()
    assert keeper.writes == 2


def test_many_times_are_written_in_pieces(clock, keeper):
    """A thousand in a turn of the event loop."""
    activity = Activity(clock.now, keeper)
    activity.seen(f"d{number}" for number in range(2_500))
    clock.advance(60)
    counts = []
    for _ in range(4):
        activity.tick()
        counts.append(len(keeper.load("activity")))
    assert counts == [1_000, 2_000, 2_500, 2_500]


def test_kept_time_of_the_state_outlives_a_message_after_a_restart(clock, keeper):
    """A message that waited in the gateway does not mean that its sender has come."""
    first = Activity(clock.now, keeper)
    first.connection_changed("press", connected=True)
    first.flush()
    clock.advance(100)
    second = Activity(clock.now, keeper)
    second.seen(["press"])
    assert second.times("press") == Times(1_000, 1_100)


def test_times_that_cannot_be_written_wait(clock, keeper):
    """StoreError, and they are written once there is room."""
    activity = Activity(clock.now, keeper)
    activity.seen(["press"])
    keeper.full = True
    clock.advance(60)
    for act in (activity.tick, activity.flush):
        with pytest.raises(StoreError):
            act()
    keeper.full = False
    activity.tick()
    assert Activity(clock.now, keeper).times("press") == Times(0, 1_000)


def test_times_of_a_client_that_is_gone_are_forgotten(clock, keeper):
    """Those of one whose name begins with its own stay."""
    activity = Activity(clock.now, keeper)
    activity.seen(["press", "press2"])
    activity.flush()
    keeper.write(activity.removal("press"))
    activity.forget("press")
    for each in (activity, Activity(clock.now, keeper)):
        assert (each.times("press"), each.times("press2")) == (Times(), Times(0, 1_000))


def test_times_that_cannot_be_read_keep_nobody_from_sending(clock, keeper):
    """Who asks is told; what others have changed is read anew."""
    activity = Activity(clock.now, keeper)
    keeper.write([("activity", "press ", "{")])
    activity.seen(["press"])
    with pytest.raises(StoreError):
        activity.times("press")
    HubDatabase(keeper.path).keep("activity", "press ", [1, 2])
    activity.reload()
    assert activity.times("press") == Times(1, 2)
