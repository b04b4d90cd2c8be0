"""The device scope's cache: when it asks, what it makes of the answers, whom it tells."""

import pytest

from gateway.store.scope import ScopeFile
from tests.gateway.hub.identities import KEY, Log, Source, World, device


def ask(world, client_id="press", wait=100):
    """Have an identity asked for; what comes back is told when it is done."""
    done = []
    world.scope.refresh_identity(client_id, world.now + wait, lambda: done.append(world.now))
    return done


def test_scope_is_read_at_the_start_and_every_hour():
    """Everything the cloud lists is known, and read anew after 3600 s, not before."""
    world = World(device("press"), device("edge", edge=True), device("press", "filter"), start=False)
    assert world.log.take() == ["INFO Created device scope identities cache"]
    world.scope.tick()
    assert world.log.take() == [
        "INFO Starting refresh of device scope identities cache",
        "INFO Done refreshing device scope identities cache. Waiting for 60 minutes.",
    ]
    assert [world.scope.get(name) is not None for name in ("press", "edge", "press/filter", "ghost")] == [
        True, True, True, False,
    ]  # fmt: skip
    world.elapse(3599.9)
    assert world.source.listed == 1
    world.elapse(0.1)
    assert world.source.listed == 2


def test_scope_is_read_at_once_when_the_clock_is_set_back():
    """A clock that was a year ahead does not stop the regular refresh for a year."""
    world = World(device())
    world.elapse(-365 * 86_400)
    assert world.source.listed == 2


def test_known_identity_is_asked_for_once_in_two_minutes():
    """The second time within 120 s is skipped with the product's line; after that it is asked for again."""
    world = World(device())
    assert ask(world) == [world.now]
    assert world.log.take() == ["INFO Refreshing service identity for press"]
    world.elapse(30)
    assert ask(world) == [world.now]
    assert world.log.take() == ["INFO Skipping refresh for identity: press, waiting 90 seconds until refreshing again."]
    world.elapse(90)
    ask(world)
    assert world.source.fetched == ["press", "press"]


def test_unknown_identity_is_asked_for_each_time():
    """The throttle is for identities that are known; one that has just become a child is found at once."""
    world = World(device("other"))
    ask(world)
    ask(world)
    world.source.put(device())
    ask(world)
    assert world.source.fetched == ["press"] * 3
    assert world.scope.get("press") == device()


def test_clock_set_back_lifts_the_throttle():
    """Otherwise a device would be refused for as long as the clock had been ahead."""
    world = World(device())
    ask(world)
    world.now -= 1_000
    ask(world)
    assert world.source.fetched == ["press", "press"]


def test_question_that_is_open_is_not_asked_twice():
    """Two clients of one name wait for the same answer."""
    world = World(device("other"))
    world.source.mode = "silent"
    first, second = ask(world), ask(world)
    assert (world.source.fetched, first, second) == (["press"], [], [])
    world.source.put(device())
    world.source.speak()
    assert len(first) == len(second) == 1
    assert world.scope.get("press") is not None


def test_question_without_an_answer_is_given_up():
    """After its time, not before; the answer still counts when it comes later, and nobody is told twice."""
    world = World(device("other"))
    world.source.mode = "silent"
    done = ask(world, wait=100)
    world.elapse(99.9)
    assert done == []
    world.elapse(0.1)
    assert done == [world.now]
    world.source.put(device())
    world.source.speak()
    assert (len(done), world.scope.get("press")) == (1, device())


def test_cloud_that_cannot_be_reached_changes_nothing():
    """What is known stays known; the next question is asked, for nothing was learned."""
    world = World(device())
    world.source.mode = "unreachable"
    assert ask(world) == [world.now]
    assert world.log.take()[-1] == "WARNING Error while refreshing the service identity: press OnBehalfOf: edge"
    world.scope.refresh()
    assert world.log.take() == [
        "INFO Starting refresh of device scope identities cache",
        "WARNING Encountered an error while refreshing the device scope identities cache. "
        "Will retry the operation in some time...",
        "INFO Done refreshing device scope identities cache. Waiting for 60 minutes.",
    ]
    ask(world)
    assert (world.source.fetched, world.scope.get("press")) == (["press", "press"], device())


def test_first_read_is_tried_again_every_minute():
    """Until the scope was read once nobody is asked for in particular, and who waits for it goes on waiting."""
    world = World(device(), start=False)
    world.source.mode = "unreachable"
    world.scope.tick()
    line = "INFO Retry refreshing device scope identities cache. Waiting for 60 seconds."
    assert world.log.take()[-1] == line
    assert ask(world) == [world.now]
    assert world.source.fetched == []
    done = []
    world.scope.await_refresh(world.now + 100, lambda: done.append(world.now))
    world.elapse(59)
    assert (world.source.listed, done) == (2, [])
    world.source.mode = "at once"
    world.elapse(1)
    assert (world.source.listed, done) == (3, [world.now])


def test_whole_scope_is_asked_for_once_in_two_minutes():
    """For somebody unknown; otherwise the answer is the one there is, at once."""
    world = World(device())
    done = []
    world.scope.await_refresh(world.now + 100, lambda: done.append("soon"))
    assert (done, world.source.listed) == (["soon"], 1)
    assert world.log.take() == ["INFO Skipping cache refresh, waiting 120 seconds until refreshing again."]
    world.elapse(120)
    world.scope.await_refresh(world.now + 100, lambda: done.append("now"))
    assert (done, world.source.listed) == (["soon", "now"], 2)
    assert world.log.take()[0] == ("INFO Device scope identities refresh is ready because a refresh was signalled.")


def test_whole_scope_is_waited_for_a_hundred_seconds():
    """Whoever waits shares one question, and stops waiting when its own time is up."""
    world = World(device())
    world.elapse(120)
    world.source.mode = "silent"
    done = []
    world.scope.await_refresh(world.now + 100, lambda: done.append(1))
    world.elapse(50)
    world.scope.await_refresh(world.now + 100, lambda: done.append(2))
    assert world.source.listed == 2
    world.elapse(50)
    assert done == [1]
    world.source.speak()
    assert done == [1, 2]


def test_link_that_is_back_has_the_scope_read():
    """Unless that was done within the delay."""
    world = World(device())
    world.scope.online()
    assert world.source.listed == 1
    world.elapse(120)
    world.scope.online()
    assert world.source.listed == 2


def test_refresh_by_hand_is_not_throttled():
    """It asks now; but not twice at a time."""
    world = World(device())
    world.scope.refresh()
    world.source.mode = "silent"
    world.scope.refresh()
    world.scope.refresh()
    assert world.source.listed == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"enabled": False}, [("updated", "press")]),
        ({"keys": ("AAAA",)}, [("updated", "press")]),
        ({"generation_id": "7"}, [("updated", "press")]),
        ({"parent_scopes": ("other",)}, [("updated", "press")]),
        ({}, []),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_change_is_told(change, told, whole):
    """By one question or by the whole scope; an identity that is the same is no news."""
    world = World(device(), device("other"))
    world.source.put(device(**change))
    if whole:
        world.scope.refresh()
    else:
        ask(world)
    assert world.observer.told == told
    assert world.scope.get("press") == device(**change)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
def test_removal_is_told_of_enabled_identities(whole, enabled):
    """A disabled one has nobody connected any more."""
    world = World(device(enabled=enabled), device("other"))
    del world.source.identities["press"]
    if whole:
        world.scope.refresh()
    else:
        ask(world)
    assert world.observer.told == ([("removed", "press")] if enabled else [])
    assert (world.scope.get("press"), len(world.scope)) == (None, 1)


def test_strangers_cannot_make_it_ask_without_end():
    """With 4,096 questions open the next one is given up at once."""
    world = World(device())
    world.source.mode = "silent"
    for number in range(4_096):
        assert ask(world, f"d{number}") == []
    assert ask(world, "one-more") == [world.now]
    assert len(world.source.fetched) == 4_096


def test_scope_survives_a_restart_without_the_cloud(tmp_path):
    """What was known is known, also when the whole scope cannot be read; strangers are still asked for."""
    path = tmp_path / "scope.jsonl"
    first = World(device(), device("gone"), store=ScopeFile(path, Log()))
    del first.source.identities["gone"]
    first.source.put(device("new", enabled=False))
    first.scope.refresh()
    first.store.close()
    store = ScopeFile(path, Log())
    again = World(store=store, start=False)
    again.source.mode = "unreachable"
    again.scope.tick()
    assert [again.scope.get(name) for name in ("press", "gone", "new")] == [
        device(), None, device("new", enabled=False),
    ]  # fmt: skip
    ask(again, "stranger")
    assert again.source.fetched == ["stranger"]
    store.close()


def test_identities_in_the_log_have_no_keys():
    """Neither repr nor the log shows one, nor what somebody put into a device id."""
    world = World(device())
    ask(world, "SharedAccessKey=" + KEY)
    assert KEY not in "".join(world.log.take()) + repr(world.scope.get("press"))
    assert Source(device()).identities["press"].keys == (KEY,)
