"""Twins, cloud-to-device messages and feedback that outlive the process, and what becomes of them on a full disk."""

import copy
import logging
import random

import pytest

from gateway import Device, Inbox, ManualClock, StoreError
from gateway.errors import CommandRefusedError
from gateway.hub.cloud import Failure
from gateway.hub.twin import TwinError
from gateway.upstream import Registry
from gateway.upstream.command import CommandLimits
from gateway.upstream.commands import CommandQueues
from gateway.upstream.database import HubDatabase
from gateway.upstream.hub import IotHub
from gateway.upstream.link import Link
from gateway.upstream.twins import Twins
from tests.gateway.upstream.test_twins import random_patch


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


# -- twins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_twin_is_after_a_restart_what_it_was(seed, keeper, clock):
    """Documents, versions, ETag and metadata after any history of changes; one by one or all at once."""
    source, twins = random.Random(seed), Twins(clock.now, keeper)
    names = ["press", "press/filter", "press2"]
    for _ in range(40):
        name = source.choice(names)
        clock.advance(source.random() * 10)
        match source.randrange(5):
            case 0:
                twins.update(name, tags=random_patch(source), desired=random_patch(source))
            case 1:
                twins.update_tags(name, random_patch(source))
            case 2:
                twins.replace_desired(name, random_patch(source))
            case 3 if source.random() < 0.1:
                twins.remove(name)
            case _:
                twins.update_reported(name, random_patch(source))
    before = {name: (twins.get(name), twins.wire(name), twins.document(name)) for name in names}
    changed = [name for name in names if twins.get(name).version > 1]
    for load_all in (False, True):
        again = Twins(clock.now, keeper)
        if load_all:
            again.load_all()
        for name in changed:
            assert (again.get(name), again.wire(name), again.document(name)) == before[name]
            again.update_reported(name, {"a": 1})
            assert again.get(name).version == before[name][0].version + 1
            twins.update_reported(name, {"a": 1})
            assert again.get(name) == twins.get(name)
            before[name] = (twins.get(name), twins.wire(name), twins.document(name))


def test_restored_twin_cannot_be_changed(keeper, clock):
    """What is handed out belongs to the twin, as before; a copy is ordinary."""
    Twins(clock.now, keeper).update_desired("press", {"a": {"b": [1]}})
    desired = Twins(clock.now, keeper).get("press").desired
    with pytest.raises(TypeError, match="belongs to a twin"):
        desired["a"]["b"].append(2)
    assert copy.deepcopy(desired) == {"a": {"b": [1]}}


def test_twin_change_is_one_write_of_its_own_section(keeper, clock):
    """What a device reports leaves large desired properties alone; tags with desired properties go together."""
    twins = Twins(clock.now, keeper)
    twins.update("press", tags={"a": 1}, desired={"large": "x" * 4_000})
    keeper.keep("twin", "press desired", "untouched")
    twins.update_reported("press", {"a": 1})
    assert keeper.writes == 3
    assert set(keeper.load("twin")) == {"press tags", "press desired", "press reported"}
    assert keeper.load("twin")["press desired"] == "untouched"


def test_removed_twin_is_kept_no_more(keeper, clock):
    """Those whose names begin with its own stay."""
    twins = Twins(clock.now, keeper)
    for name in ("press", "press/filter", "press2"):
        twins.update(name, tags={"a": 1}, desired={"a": 1})
        twins.update_reported(name, {"a": 1})
    twins.remove("press")
    again = Twins(clock.now, keeper)
    assert (again.get("press").tags, again.get("press").version) == ({}, 1)
    assert again.get("press/filter").version == again.get("press2").version == 3


def test_twin_change_that_cannot_be_stored_is_not_made(keeper, clock):
    """StoreError from each; versions, documents and the ETag are as before, and nobody is told."""
    twins = Twins(clock.now, keeper)
    twins.update("press", tags={"a": 1}, desired={"a": 1})
    before, wire = twins.get("press"), twins.wire("press")
    twins.subscribe(lambda *_: pytest.fail("nothing has changed"))
    keeper.full = True
    for change in (
        lambda: twins.update("press", tags={"a": 2}, desired={"a": 2}),
        lambda: twins.update_reported("press", {"a": 2}),
        lambda: twins.remove("press"),
    ):
        with pytest.raises(StoreError):
            change()
        assert (twins.get("press"), twins.wire("press")) == (before, wire)
    assert Twins(clock.now, keeper).get("press") == before


@pytest.mark.parametrize(
    "document",
    [{}, [], 1, ["tags", 2, [2, "x"], "{}", "{}"], ["tags", "v", [2, "x", 2], "{}", "{}"],
     ["tags", 2, [2, "x", 2], '{"$":[1,2]}', "[1]"], ["tags", 2, [2, "x", 2], "{", "{}"]],
)  # fmt: skip
def test_twin_that_cannot_be_read_is_an_error(keeper, clock, document):
    """Somebody has edited the database: StoreError, from changes too, and it stays as it is."""
    keeper.keep("twin", "press tags", document)
    for read in (
        lambda twins: (twins.get("press").tags, twins.get("press").tags_section.updated),
        lambda twins: (twins.load_all(), twins.get("press").tags, twins.get("press").tags_section.updated),
        lambda twins: twins.update_tags("press", {"a": 1}),
    ):
        with pytest.raises(StoreError, match="a twin that is kept cannot be read"):
            read(Twins(clock.now, keeper))
    assert keeper.load("twin") == {"press tags": document}


# -- cloud-to-device messages ------------------------------------------------------------------------------------------


def queues_of(keeper, clock, **limits):
    """The queues as they are after a start."""
    queues = CommandQueues(clock, CommandLimits(**limits), keeper)
    queues.load()
    return queues


def taken(queues, device_id="press"):
    """Everything that waits for a device: body and how often it was given back."""
    found = []
    while command := queues.receive(device_id):
        found.append((command.body, command.delivery_count))
    return found


def test_messages_are_after_a_restart_as_they_were_sent(keeper, clock):
    """In order, with everything they have, for each device."""
    queues = queues_of(keeper, clock)
    properties, system = {"a": "ä"}, {"message-id": "m", "content-type": "text/plain"}
    sent = queues.send("press", b"\0\xff", properties, system, ttl=60, ack="full")
    queues.send("lathe", b"other")
    queues.send("press", b"second")
    again = queues_of(keeper, clock)
    assert (again.depth("press"), again.depth("lathe")) == (2, 1)
    got = again.receive("press")
    assert got == sent.delivered(got.lock_token, 0)
    assert taken(again) == [(b"second", 0)]
    again.send("press", b"third")
    assert taken(queues_of(keeper, clock)) == [(b"\0\xff", 0), (b"second", 0), (b"third", 0)]


def test_locks_do_not_survive_a_restart(keeper, clock):
    """What was locked waits at its place again, which does not count; its token settles nothing any more."""
    queues = queues_of(keeper, clock)
    for body in (b"1", b"2", b"3"):
        queues.send("press", body)
    first, second = queues.receive("press"), queues.receive("press")
    queues.abandon(first.lock_token)
    queues.abandon(queues.receive("press").lock_token)
    queues.complete(second.lock_token)
    locked = queues.receive("press")
    again = queues_of(keeper, clock)
    with pytest.raises(CommandRefusedError) as error:
        again.complete(locked.lock_token)
    assert error.value.code == 412_002
    assert taken(again) == [(b"1", 2), (b"3", 0)]


def test_message_expires_after_a_restart(keeper, clock):
    """Its time goes on while nobody is there, and its sender hears of it."""
    queues_of(keeper, clock).send("press", b"x", system_properties={"message-id": "m"}, ttl=60, ack="full")
    clock.advance(61)
    again = queues_of(keeper, clock)
    again.tick()
    assert (again.depth("press"), [record.status for record in again.feedback]) == (0, ["Expired"])
    assert keeper.load("command") == {}


@pytest.mark.parametrize("act", ["complete", "reject", "purge", "remove", "abandon"])
def test_message_that_has_ended_is_kept_no_more(keeper, clock, act):
    """Whichever way it ended; a device that is removed takes its feedback along."""
    queues = queues_of(keeper, clock, most_deliveries=1)
    queues.send("press", b"x", ack="full")
    queues.send("lathe", b"x")
    if act in ("purge", "remove"):
        getattr(queues, act)("press")
    else:
        getattr(queues, act)(queues.receive("press").lock_token)
    again = queues_of(keeper, clock)
    assert (again.depth("press"), again.depth("lathe")) == (0, 1)
    assert len(again.feedback) == (0 if act == "remove" else 1)


def test_message_that_cannot_be_stored_is_not_taken(keeper, clock):
    """StoreError, also from settling: then the message stays locked, and comes again when the lock has run out."""
    queues = queues_of(keeper, clock)
    queues.send("press", b"x", ack="full")
    queues.subscribe(lambda _: None)
    locked = queues.receive("press")
    keeper.full = True
    with pytest.raises(StoreError):
        queues.send("press", b"y")
    for settle in (queues.complete, queues.reject, queues.abandon):
        with pytest.raises(StoreError):
            settle(locked.lock_token)
    assert (queues.depth("press"), len(queues.feedback), queues.receive("press")) == (1, 0, None)
    clock.advance(60)
    queues.tick()
    assert queues.receive("press").body == b"x"
    assert taken(queues_of(keeper, clock)) == [(b"x", 0)]


def test_message_that_expires_on_a_full_disk_ends_once_there_is_room(keeper, clock):
    """It is delivered no more meanwhile, and nothing that is due is forgotten."""
    queues = queues_of(keeper, clock)
    for name in ("a", "b"):
        queues.send(name, b"x", ttl=60, ack="full")
    clock.advance(60)
    keeper.full = True
    for act in (queues.tick, queues.tick, lambda: queues.receive("a")):
        with pytest.raises(StoreError):
            act()
    assert (queues.depth("a"), queues.depth("b")) == (1, 1)
    keeper.full = False
    queues.tick()
    assert (queues.depth("a"), queues.depth("b"), len(queues.feedback)) == (0, 0, 2)


@pytest.mark.parametrize(
    "document", [{}, [], "text", {"device": "press", "body": "!", "ack": "none"}, {"ack": "maybe"}]
)
def test_message_that_cannot_be_read_is_an_error(keeper, clock, document):
    """Somebody has edited the database: StoreError, and it stays as it is."""
    keeper.keep("command", "1", document)
    with pytest.raises(StoreError, match="a cloud-to-device message that is kept cannot be read"):
        queues_of(keeper, clock)
    assert keeper.load("command") == {"1": document}


# -- feedback ----------------------------------------------------------------------------------------------------------


def finish(queues, *names):
    """Messages with these ids are sent to `press` and completed."""
    for name in names:
        queues.send("press", b"x", system_properties={"message-id": name}, ack="full")
        queues.complete(queues.receive("press").lock_token)


def batches(queues, clock):
    """The batches that are ready: message ids, and when each was made."""
    found = []
    while batch := queues.feedback.receive(clock.now()):
        found.append(([record.original_message_id for record in batch.records], batch.enqueued))
    return found


def test_feedback_survives_a_restart(keeper, clock):
    """Batches with their times, and records that wait for one; what was taken is gone."""
    queues = queues_of(keeper, clock, feedback_batch=2)
    made = clock.now()
    finish(queues, "a", "b", "c", "d", "e")
    assert queues.feedback.receive(made).records[0].original_message_id == "a"
    clock.advance(5)
    again = queues_of(keeper, clock, feedback_batch=2)
    assert [record.original_message_id for record in again.feedback] == ["c", "d", "e"]
    clock.advance(15)
    assert batches(again, clock) == [(["c", "d"], made), (["e"], clock.now())]
    assert (keeper.load("feedback"), keeper.load("feedback-batch")) == ({}, {})
    finish(again, "f", "g")
    assert batches(queues_of(keeper, clock, feedback_batch=2), clock) == [(["f", "g"], clock.now())]


def test_feedback_that_nobody_takes_is_kept_no_longer(keeper, clock):
    """Batches that are too many, and those that are too old."""
    queues = queues_of(keeper, clock, feedback_batch=1, most_feedback_batches=2)
    finish(queues, "a", "b", "c")
    assert [record.original_message_id for record in queues_of(keeper, clock, feedback_batch=1).feedback] == ["b", "c"]
    clock.advance(3_600)
    queues.tick()
    assert (keeper.load("feedback"), keeper.load("feedback-batch")) == ({}, {})


def test_feedback_that_cannot_be_stored_is_not_lost(keeper, clock):
    """Batches stay to be taken, and records to be batched."""
    queues = queues_of(keeper, clock, feedback_batch=2)
    finish(queues, "a", "b", "c")
    keeper.full = True
    with pytest.raises(StoreError):
        queues.feedback.receive(clock.now())
    clock.advance(15)
    with pytest.raises(StoreError):
        queues.tick()
    keeper.full = False
    assert [names for names, _ in batches(queues, clock)] == [["a", "b"], ["c"]]


# -- the hub -----------------------------------------------------------------------------------------------------------


class Room:
    """An IoT Hub that keeps what it knows."""

    def __init__(self, keeper, clock):
        link = Link(Inbox(), clock.now, logging.getLogger("test"))
        self.registry = Registry(keeper)
        self.hub = IotHub(
            lambda: self.registry, Inbox(), clock, link, keeper=keeper, log=logging.getLogger("leafgate.test")
        )
        self.answers = []

    def ask(self, act, *arguments):
        """What the Edge Hub is answered."""
        act(*arguments, self.answers.append)
        return self.answers.pop()


@pytest.fixture
def room(keeper, clock):
    """A hub with a device that has a module, and something of everything."""
    made = Room(keeper, clock)
    for device in (Device("press"), Device("press", "filter"), Device("lathe")):
        made.registry.add(device)
        made.hub.twins.update(device.client_id, tags={"a": 1})
    made.hub.commands.send("press", b"x")
    made.hub.commands.send("lathe", b"y")
    return made


def test_removal_takes_everything_along_in_one_write(room, keeper):
    """Modules, twins, messages; another device keeps its own."""
    before = keeper.writes
    room.hub.remove("press", etag=room.registry.get("press").etag)
    assert keeper.writes == before + 1
    assert list(keeper.load("device")) == ["lathe"]
    assert list(keeper.load("twin")) == ["lathe tags", "lathe desired", "lathe reported"]
    assert [document["device"] for document in keeper.load("command").values()] == ["lathe"]
    assert (room.hub.twins.get("press").tags, room.hub.commands.depth("press")) == ({}, 0)


def test_removal_that_cannot_be_stored_takes_nothing(room, keeper):
    """StoreError, and everything is still there, in memory and in the file."""
    keeper.full = True
    with pytest.raises(StoreError):
        room.hub.remove("press")
    assert (room.hub.twins.get("press").tags, room.hub.commands.depth("press")) == ({"a": 1}, 1)
    assert (
        [device.client_id for device in room.registry]
        == list(keeper.load("device"))
        == ["press", "press/filter", "lathe"]
    )


def test_edge_hub_hears_of_a_full_disk_as_if_nobody_answered(room, keeper, clock, caplog):
    """It tries again later, as with a cloud that is away; the log says it once."""
    hub = room.hub
    keeper.full = True
    answers = [room.ask(hub.uplink.report, "press", {"a": number}) for number in range(3)]
    assert [answer.failure for answer in answers] == [Failure.TIMED_OUT] * 3
    locked = hub.uplink.receive("press")
    hub.uplink.complete(locked)
    hub.tick()
    assert hub.commands.depth("press") == 1
    assert caplog.messages == ["IoT Hub cannot store the change: disk is full; make room on the disk of --state"]
    keeper.full = False
    assert room.ask(hub.uplink.report, "press", {"a": 1}) == 2
    hub.uplink.complete(locked)
    assert hub.commands.depth("press") == 0


@pytest.mark.parametrize("damage", [[], [2, [2, "x", 2], "{", "["]])
def test_edge_hub_gets_no_twin_that_cannot_be_read(room, keeper, caplog, damage):
    """To it nobody has answered, and the log has one line."""
    for section in ("desired", "reported"):
        keeper.keep("twin", f"press {section}", [section, *damage])
    room.hub.twins.reload()
    assert room.ask(room.hub.uplink.get_twin, "press").failure is Failure.TIMED_OUT
    assert room.ask(room.hub.uplink.report, "press", {"a": 1}).failure is Failure.TIMED_OUT
    assert len(caplog.messages) == 1
    assert "a twin that is kept cannot be read: " in caplog.messages[0]


def test_reported_properties_that_are_refused_are_no_matter_of_the_disk(room):
    """A document that is too large is answered with 400, as ever."""
    answer = room.ask(room.hub.uplink.report, "press", {"a": {str(n): "x" * 4_000 for n in range(10)}})
    assert isinstance(answer, TwinError)
    assert answer.status == 400


def test_hub_that_is_opened_again_sees_what_others_have_changed(room, keeper, clock):
    """After it was closed, everything is read anew."""
    assert room.hub.open() is False
    room.hub.close()
    other = Room(HubDatabase(keeper.path), clock)
    other.hub.twins.update("press", tags={"a": 2})
    other.hub.commands.send("press", b"z")
    assert "press" in room.registry
    keeper.load("device")
    assert room.hub.open() is True
    assert room.hub.twins.get("press").tags == {"a": 2}
    assert room.hub.commands.depth("press") == 2
    room.hub.close()


def test_hub_whose_messages_cannot_be_read_does_not_open(keeper, clock):
    """StoreError, and others may open it."""
    keeper.keep("command", "1", {})
    with pytest.raises(StoreError, match="a cloud-to-device message"):
        Room(keeper, clock).hub.open()
    keeper.keep("command", "1", None)
    hub = Room(keeper, clock).hub
    hub.open()
    hub.close()
