"""Cloud-to-device messages as the cloud keeps them."""

import json
import random
import tracemalloc

import pytest

from gateway import ManualClock
from gateway.errors import CommandRefusedError
from gateway.upstream.command import CommandLimits
from gateway.upstream.commands import CommandQueues

ENDS = ["complete", "reject", "abandon"]


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def queues(clock):
    """The queues of an IoT Hub without messages."""
    return CommandQueues(clock)


def records(queues, clock):
    """Message id and status of all feedback, in order; the clock moves on until it is sent."""
    clock.advance(15)
    found = []
    while batch := queues.feedback.receive(clock.now()):
        found += [(record.original_message_id, record.status) for record in batch.records]
    return found


def send(queues, message_id="m", device_id="press", body=b"x", **options):
    """Send a message whose sender wants to know everything."""
    options.setdefault("ack", "full")
    return queues.send(device_id, body, system_properties={"message-id": message_id}, **options)


def test_message_is_received_as_it_was_sent(queues, clock):
    """Body, properties, system properties by their service names, in the order in which the product writes them."""
    sent = queues.send(
        "press",
        b"\0body",
        {"b": "2", "a": "ä"},
        {
            "iothub-ack": "full",
            "expiry-time-utc": "2023-11-14T23:14:20+01:00",
            "to": "/devices/press/messages/deviceBound",
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "user-id": "u",
            "correlation-id": "c",
            "message-id": "m",
            "iothub-creation-time-utc": "2023-11-14T22:00:00Z",
        },
    )
    got = queues.receive("press")
    assert (got.body, dict(got.properties), got.device_id) == (b"\0body", {"b": "2", "a": "ä"}, "press")
    assert list(got.system_properties.items()) == [
        ("message-id", "m"),
        ("correlation-id", "c"),
        ("user-id", "u"),
        ("content-type", "application/json"),
        ("content-encoding", "utf-8"),
        ("to", "/devices/press/messages/deviceBound"),
        ("absolute-expiry-time", "2023-11-14T22:14:20.0000000Z"),
        ("iothub-creation-time-utc", "2023-11-14T22:00:00Z"),
        ("iothub-ack", "full"),
    ]
    assert (got.ack, got.message_id, got.enqueued, got.expires) == ("full", "m", clock.now(), clock.now() + 60)
    assert (bool(got.lock_token), sent.lock_token, got.delivery_count) == (True, "", 0)


def test_message_without_anything_is_addressed_to_its_device(queues, clock):
    """No message id is made up, nothing is acknowledged, and it lives for an hour, which its device is not told."""
    sent = queues.send("press", b"")
    assert dict(sent.system_properties) == {"to": "/devices/press/messages/devicebound"}
    assert (sent.ack, sent.message_id, sent.expires) == ("none", "", clock.now() + 3_600)


def test_properties_become_text_and_stay_as_they_were(queues):
    """Numbers and booleans as JSON writes them; nobody changes them afterwards."""
    given = {"n": 1, "f": 2.5, "b": True, "s": ""}
    sent = queues.send("press", bytearray(b"x"), given)
    given["n"] = 7
    assert dict(sent.properties) == {"n": "1", "f": "2.5", "b": "true", "s": ""}
    assert type(sent.body) is bytes
    with pytest.raises(TypeError):
        sent.properties["n"] = "8"
    with pytest.raises(TypeError):
        sent.system_properties["to"] = "elsewhere"


def test_messages_are_received_in_order_each_once(queues):
    """What is locked is invisible; other devices have their own."""
    for number in range(3):
        send(queues, str(number))
    send(queues, "other", "mill")
    assert [queues.receive("press").message_id for _ in range(3)] == ["0", "1", "2"]
    assert queues.receive("press") is None
    assert queues.receive("mill").message_id == "other"
    assert queues.receive("ghost") is None
    assert queues.depth("press") == 3


def test_completed_message_is_gone(queues, clock):
    """Feedback: Success, when it happened."""
    send(queues)
    queues.complete(queues.receive("press").lock_token)
    assert queues.depth("press") == 0
    assert queues.receive("press") is None
    assert records(queues, clock) == [("m", "Success")]


def test_rejected_message_is_dead(queues, clock):
    """Feedback: Rejected."""
    send(queues)
    queues.reject(queues.receive("press").lock_token)
    assert queues.depth("press") == 0
    assert records(queues, clock) == [("m", "Rejected")]


def test_abandoned_message_goes_back_to_its_place(queues):
    """Before those that were sent later, whatever the order of giving back; each time counts."""
    for name in "abc":
        send(queues, name)
    first, second = queues.receive("press"), queues.receive("press")
    queues.abandon(first.lock_token)
    queues.abandon(second.lock_token)
    again = [queues.receive("press") for _ in range(3)]
    assert [(one.message_id, one.delivery_count) for one in again] == [("a", 1), ("b", 1), ("c", 0)]
    assert again[0].lock_token != first.lock_token


def test_message_given_back_too_often_is_dead(queues, clock):
    """The tenth time; feedback: DeliveryCountExceeded."""
    send(queues)
    for count in range(10):
        received = queues.receive("press")
        assert received.delivery_count == count
        queues.abandon(received.lock_token)
    assert queues.receive("press") is None
    assert records(queues, clock) == [("m", "DeliveryCountExceeded")]


def test_lock_that_runs_out_does_not_count(queues, clock):
    """The message is receivable again after a minute, as often as that happens."""
    send(queues, ttl=3_600)
    for _ in range(15):
        assert queues.receive("press").delivery_count == 0
        clock.advance(59.9)
        queues.tick()
        assert queues.receive("press") is None
        clock.advance(0.1)
        queues.tick()
    assert queues.receive("press").delivery_count == 0


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("ticked", [True, False])
def test_lock_that_has_run_out_settles_nothing(queues, clock, act, ticked):
    """412 with IoT Hub's code, whether the queues have noticed yet or not; the message is there again."""
    send(queues)
    token = queues.receive("press").lock_token
    clock.advance(60)
    if ticked:
        queues.tick()
    for _ in range(2):
        with pytest.raises(CommandRefusedError, match="locks no message") as error:
            getattr(queues, act)(token)
        assert (error.value.status, error.value.code) == (412, 412_002)
    assert queues.receive("press").delivery_count == 0
    assert records(queues, clock) == []


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("before", ENDS)
def test_lock_token_settles_once(queues, act, before):
    """A second time it is unknown, and changes nothing."""
    send(queues, "a")
    send(queues, "b")
    token = queues.receive("press").lock_token
    getattr(queues, before)(token)
    depth = queues.depth("press")
    with pytest.raises(CommandRefusedError) as error:
        getattr(queues, act)(token)
    assert error.value.code == 412_002
    assert token not in error.value.message
    assert queues.depth("press") == depth


@pytest.mark.parametrize("act", ENDS)
@pytest.mark.parametrize("token", ["", "ghost"])
def test_lock_token_of_nothing_is_refused(queues, act, token):
    """Also the empty one, which messages that wait have."""
    send(queues)
    with pytest.raises(CommandRefusedError) as error:
        getattr(queues, act)(token)
    assert error.value.code == 412_002
    assert queues.depth("press") == 1


@pytest.mark.parametrize("ticked", [True, False])
def test_message_expires(queues, clock, ticked):
    """At its time, not before; feedback: Expired. Later ones are not held up."""
    send(queues, "short", ttl=10)
    send(queues, "long", ttl=20)
    clock.advance(9.9)
    queues.tick()
    assert queues.depth("press") == 2
    clock.advance(0.1)
    if ticked:
        queues.tick()
        assert queues.depth("press") == 1
    assert queues.receive("press").message_id == "long"
    assert records(queues, clock) == [("short", "Expired")]


def test_message_that_expires_while_locked_can_be_completed(queues, clock):
    """Given back, it is dead: by hand or when the lock runs out."""
    for name in "abc":
        send(queues, name, ttl=10)
    first, second, _ = (queues.receive("press") for _ in range(3))
    clock.advance(11)
    queues.tick()
    assert queues.depth("press") == 3
    queues.complete(first.lock_token)
    queues.abandon(second.lock_token)
    clock.advance(60)
    queues.tick()
    assert records(queues, clock) == [("a", "Success"), ("b", "Expired"), ("c", "Expired")]
    assert queues.depth("press") == 0


@pytest.mark.parametrize("past", ["2023-11-14T22:13:19Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_message_whose_time_is_over_when_it_is_sent_expires(queues, clock, past):
    """It is taken, and its sender learns that it was too late."""
    queues.send("press", b"", None, {"absolute-expiry-time": past, "message-id": "m", "iothub-ack": "negative"})
    assert queues.receive("press") is None
    assert records(queues, clock) == [("m", "Expired")]


@pytest.mark.parametrize(
    ("end", "acks"),
    [("complete", ["positive", "full"]), ("reject", ["negative", "full"]), ("purge", ["negative", "full"])],
)
def test_feedback_is_for_those_who_want_it(queues, clock, end, acks):
    """positive: completed; negative: dead; full: both; none: neither."""
    for ack in ("none", "positive", "negative", "full"):
        send(queues, ack, ack=ack)
    if end == "purge":
        queues.purge("press")
    else:
        while received := queues.receive("press"):
            getattr(queues, end)(received.lock_token)
    assert [name for name, _ in records(queues, clock)] == acks


def test_purge_drops_what_waits(queues, clock):
    """And says how much; what is locked goes on, other devices keep theirs."""
    for name in "abc":
        send(queues, name)
    send(queues, "other", "mill")
    locked = queues.receive("press")
    assert queues.purge("press") == 2
    assert queues.purge("press") == 0
    assert queues.purge("ghost") == 0
    assert (queues.depth("press"), queues.depth("mill")) == (1, 1)
    queues.complete(locked.lock_token)
    assert records(queues, clock) == [("b", "Purged"), ("c", "Purged"), ("a", "Success")]


def test_removed_device_leaves_nothing(queues, clock):
    """Neither messages nor pending feedback; its lock tokens are unknown."""
    send(queues, "a")
    send(queues, "b")
    send(queues, "other", "mill")
    queues.complete(queues.receive("press").lock_token)
    queues.reject(queues.receive("mill").lock_token)
    token = queues.receive("press").lock_token
    queues.remove("press")
    queues.remove("ghost")
    assert queues.depth("press") == 0
    with pytest.raises(CommandRefusedError):
        queues.complete(token)
    clock.advance(3_700)
    queues.tick()
    assert len(queues.feedback) == 1


def test_queue_holds_fifty_messages(queues, clock):
    """Locked ones count; IoT Hub's 403004 and its words for one more; room is what has ended or expired."""
    for number in range(50):
        send(queues, str(number), ttl=10 if number == 25 else 100)
    token = queues.receive("press").lock_token
    with pytest.raises(CommandRefusedError, match="Device Queue depth cannot exceed 50 messages") as error:
        send(queues, "one more")
    assert (error.value.status, error.value.code, error.value.exit_code) == (403, 403_004, 2)
    assert error.value.hint
    assert queues.depth("press") == 50
    send(queues, "other", "mill")
    queues.complete(token)
    send(queues, "room")
    clock.advance(10)
    send(queues, "room of the expired")
    with pytest.raises(CommandRefusedError):
        send(queues, "one more")


def refused(queues, *arguments, **options):
    """Status, code and message of the refusal of a send; nothing is queued."""
    with pytest.raises(CommandRefusedError) as error:
        queues.send(*arguments, **options)
    assert queues.depth("press") == 0
    return error.value.status, error.value.code, error.value.message


@pytest.mark.parametrize(
    ("system", "options", "message"),
    [
        ({"iothub-ack": "maybe"}, {}, "'maybe' is no kind of feedback"),
        ({"iothub-ack": ""}, {}, "'' is no kind"),
        ({}, {"ack": "Full"}, "'Full' is no kind"),
        ({}, {"ttl": 0}, "cannot live 0 seconds"),
        ({}, {"ttl": -1}, "cannot live -1 seconds"),
        ({}, {"ttl": 48 * 3_600 + 1}, "cannot live 172801 seconds"),
        ({}, {"ttl": float("nan")}, "cannot live nan seconds"),
        ({"absolute-expiry-time": "tomorrow"}, {}, "'tomorrow' is no time of expiry"),
        ({"absolute-expiry-time": ""}, {}, "'' is no time"),
        ({"absolute-expiry-time": "9999-12-31T23:59:59-23:59"}, {}, "too far away"),
        ({"expiry-time-utc": "2023-11-16T22:13:21Z"}, {}, "too far away"),
        ({"to": "/devices/mill/messages/devicebound"}, {}, "which is not /devices/press/messages/devicebound"),
        ({"lock-token": "x"}, {}, "'lock-token' is no system property"),
        ({"message-id": None}, {}, "None cannot be part"),
        ({"message-id": "\ud800"}, {}, "cannot be part"),
        ({"message-id": b"x"}, {}, "cannot be part"),
    ],
)
def test_message_with_a_bad_property_is_refused(queues, system, options, message):
    """400 with what is wrong."""
    status, code, said = refused(queues, "press", b"", None, system, **options)
    assert (status, code) == (400, 400_004)
    assert message in said


@pytest.mark.parametrize("device_id", ["", "press/filter", "/"])
def test_message_to_no_device_is_refused(queues, device_id):
    """A module gets no cloud-to-device messages."""
    assert "is no device id" in refused(queues, device_id, b"")[2]


@pytest.mark.parametrize("body", ["text", 5, None, [1]])
def test_body_that_is_no_bytes_is_refused(queues, body):
    """Above all a number, of which bytes() would make zeros."""
    assert "a body is bytes" in refused(queues, "press", body)[2]


@pytest.mark.parametrize("given", [{"k": None}, {"k": b"x"}, {"k": "\udfff"}, {None: "v"}, {"k": ["v"]}])
def test_property_that_is_no_text_is_refused(queues, given):
    """400."""
    assert refused(queues, "press", b"", given)[0] == 400


def test_message_of_64_kilobytes_passes_and_one_byte_more_does_not(queues):
    """Body, names and values of properties, values of system properties; the address does not count."""
    queues.send("mill", bytes(65_536))
    room = 65_536 - len("nä".encode()) - len("wert") - len("id")
    queues.send("mill", bytes(room), {"nä": "wert"}, {"message-id": "id"})
    said = refused(queues, "press", bytes(room + 1), {"nä": "wert"}, {"message-id": "id"})
    assert said == (413, 413_001, "a message of 65537 bytes; 65536 is the most")


@pytest.mark.parametrize(
    "text", ["2023-11-15T22:13:20Z", "2023-11-15T22:13:20.1234567Z", "2023-11-15 22:13:20", "2023-11-15T23:13:20+01:00"]
)
def test_time_of_expiry_is_read_as_it_comes(queues, clock, text):
    """ISO 8601 with a zone or without (UTC), up to .NET's seven digits; written as .NET does."""
    sent = queues.send("press", b"", None, {"absolute-expiry-time": text})
    assert int(sent.expires) == int(clock.now()) + 86_400
    assert sent.system_properties["absolute-expiry-time"].startswith("2023-11-15T22:13:20.")
    assert len(sent.system_properties["absolute-expiry-time"]) == len("2023-11-15T22:13:20.1234567Z")


def test_observers_are_told_what_has_become_receivable(queues, clock):
    """When it is sent, given back, or its lock has run out; not when it ends or expires."""
    told = []
    leave = queues.subscribe(told.append)
    send(queues, "a", ttl=200)
    queues.abandon(queues.receive("press").lock_token)
    queues.receive("press")
    clock.advance(60)
    queues.tick()
    assert told == ["press"] * 3
    queues.receive("press")
    clock.advance(300)
    queues.tick()
    send(queues, "b", "mill")
    queues.complete(queues.receive("mill").lock_token)
    assert told == ["press"] * 3 + ["mill"]
    leave()
    leave()
    send(queues, "c")
    assert len(told) == 4


def test_observer_that_fails_stops_nobody(queues, caplog):
    """The message is queued, the others are told, the log says what happened."""
    told = []

    def failing(_):
        raise RuntimeError("broken")

    queues.subscribe(failing)
    queues.subscribe(told.append)
    send(queues)
    assert told == ["press"]
    assert "an observer of cloud-to-device messages failed" in caplog.text


def test_observer_may_take_the_message_it_is_told_about(queues, clock):
    """At once, as a connected device does; also while a full queue makes room."""
    taken = []

    def take(device_id):
        if received := queues.receive(device_id):
            taken.append(received.message_id)
            queues.complete(received.lock_token)

    for number in range(50):
        send(queues, str(number), ttl=10)
    queues.receive("press")
    clock.advance(100)
    queues.subscribe(take)
    send(queues, "new")
    assert taken == ["new"]
    assert [status for _, status in records(queues, clock)] == ["Expired"] * 50 + ["Success"]


# -- feedback


def test_feedback_waits_fifteen_seconds_or_for_sixty_four_records(queues, clock):
    """From the last batch on; each batch is taken once."""
    queues.feedback.tick(clock.now())

    def end(count):
        for number in range(count):
            send(queues, str(number), f"d{number}")
            queues.complete(queues.receive(f"d{number}").lock_token)

    end(1)
    clock.advance(15)
    assert len(queues.feedback.receive(clock.now()).records) == 1
    end(63)
    clock.advance(14.9)
    assert queues.feedback.receive(clock.now()) is None
    end(1)
    batch = queues.feedback.receive(clock.now())
    assert (len(batch.records), batch.enqueued) == (64, clock.now())
    end(2)
    assert [record.device_id for record in queues.feedback] == ["d0", "d1"]
    clock.advance(14.9)
    queues.tick()
    assert queues.feedback.receive(clock.now()) is None
    clock.advance(0.1)
    queues.tick()
    ready = clock.now()
    clock.advance(100)
    batch = queues.feedback.receive(clock.now())
    assert (len(batch.records), batch.enqueued) == (2, ready)
    assert queues.feedback.receive(clock.now()) is None
    assert len(queues.feedback) == 0


def test_feedback_body_is_the_documented_json(queues, clock):
    """An array of records."""
    send(queues, "m-1")
    clock.advance(1.25)
    queues.reject(queues.receive("press").lock_token)
    clock.advance(15)
    assert json.loads(queues.feedback.receive(clock.now()).body) == [
        {
            "originalMessageId": "m-1",
            "enqueuedTimeUtc": "2023-11-14T22:13:21.250000Z",
            "statusCode": "Rejected",
            "description": "Rejected",
            "deviceId": "press",
        }
    ]


def test_feedback_that_nobody_takes_is_bounded(clock):
    """By number of batches and by an hour; what is lost is counted."""
    queues = CommandQueues(clock, CommandLimits(feedback_batch=2, most_feedback_batches=3))
    for number in range(10):
        send(queues, str(number))
        queues.complete(queues.receive("press").lock_token)
    assert (len(queues.feedback), queues.feedback.forgotten) == (6, 4)
    clock.advance(3_600)
    assert queues.feedback.receive(clock.now()) is None
    assert queues.feedback.forgotten == 10


# -- everything together


@pytest.mark.parametrize("seed", range(40))
def test_any_history_agrees_with_a_slow_model(seed):
    """A list of messages with their state, searched from the start for each question, says the same."""
    source, clock = random.Random(seed), ManualClock(1_700_000_000.0)
    limits = CommandLimits(queue_depth=6, most_deliveries=3)
    queues = CommandQueues(clock, limits)
    model, ended, tokens, sent = [], [], {}, 0

    def let_time_pass():
        now = clock.now()
        for one in [one for one in model if one["until"] is not None and one["until"] <= now]:
            one["until"] = None
        for one in [one for one in model if one["until"] is None and one["expires"] <= now]:
            model.remove(one)
            ended.append((one["id"], "Expired"))

    for _ in range(300):
        clock.advance(source.choice([0, 0, 1, 7, 40]))
        let_time_pass()
        queues.tick()
        act = source.choice(["send", "send", "receive", "receive", *ENDS, "purge"])
        waiting = [one for one in model if one["until"] is None]
        if act == "send":
            ttl = source.choice([5, 50, 100, 3_000])
            sent += 1
            if len(model) == 6:
                with pytest.raises(CommandRefusedError, match="cannot exceed 6"):
                    send(queues, str(sent), ttl=ttl)
            else:
                send(queues, str(sent), ttl=ttl)
                model.append({"id": str(sent), "expires": clock.now() + ttl, "until": None, "count": 0})
        elif act == "receive":
            received = queues.receive("press")
            assert (received is None) == (not waiting)
            if received:
                assert (received.message_id, received.delivery_count) == (waiting[0]["id"], waiting[0]["count"])
                waiting[0]["until"] = clock.now() + 60
                tokens[received.lock_token] = waiting[0], waiting[0]["until"]
        elif act == "purge" and source.random() < 0.2:
            assert queues.purge("press") == len(waiting)
            for one in waiting:
                model.remove(one)
                ended.append((one["id"], "Purged"))
        elif act in ENDS and tokens:
            token = source.choice(list(tokens))
            one, until = tokens.pop(token)
            if one not in model or one["until"] != until:
                with pytest.raises(CommandRefusedError):
                    getattr(queues, act)(token)
                continue
            getattr(queues, act)(token)
            one["until"] = None
            one["count"] += act == "abandon"
            over = act == "abandon" and (one["count"] == 3 or one["expires"] <= clock.now())
            if act != "abandon" or over:
                model.remove(one)
                dead = "DeliveryCountExceeded" if one["count"] == 3 else "Expired"
                ended.append((one["id"], {"complete": "Success", "reject": "Rejected", "abandon": dead}[act]))
        assert queues.depth("press") == len(model)
    assert sorted(records(queues, clock)) == sorted(ended)


def test_queues_forget_what_has_ended(clock):
    """Thousands of messages that live for two days and are completed at once leave nothing behind."""
    queues = CommandQueues(clock)

    def pass_through(count):
        for number in range(count):
            send(queues, "m", f"d{number % 100}", ttl=48 * 3_600, ack="none")
            token = queues.receive(f"d{number % 100}").lock_token
            if number % 2:
                queues.abandon(token)
                token = queues.receive(f"d{number % 100}").lock_token
            queues.complete(token)

    pass_through(2_000)
    tracemalloc.start()
    try:
        pass_through(4_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 400_000


def test_message_that_outlives_thousands_still_expires(queues, clock):
    """Forgetting what has ended forgets nothing else: neither times of expiry nor locks."""
    send(queues, "waits", ttl=500)
    send(queues, "locked", "mill", ttl=500)
    queues.receive("mill")
    for _ in range(3_000):
        send(queues, "m", "busy", ack="none")
        queues.complete(queues.receive("busy").lock_token)
    told = []
    queues.subscribe(told.append)
    clock.advance(60)
    queues.tick()
    assert told == ["mill"]
    clock.advance(440)
    queues.tick()
    assert records(queues, clock) == [("waits", "Expired"), ("locked", "Expired")]
