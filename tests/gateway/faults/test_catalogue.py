"""Faults by name and parameters: what can be written, and what is said about mistakes."""

import random

import pytest

from gateway.faults import FAULTS, FaultError
from gateway.faults.catalogue import make, parameters, read, summary
from gateway.faults.delay import Delay
from gateway.faults.effect import End, Way


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_every_fault_has_a_sentence_and_describes_its_parameters(kind):
    """What the catalogue shows is complete, and each fault has a file of its own."""
    assert summary(kind).endswith(".")
    assert all(parameters(kind).values())
    assert kind.__module__ == f"gateway.faults.{kind.name.replace('-', '_')}"


def test_fault_is_read_as_it_is_written():
    """Name, keys and values; the fault writes itself the same way."""
    fault = read("delay:seconds=0.5,jitter=0.1,seed=7,direction=to-client,client_id=dev1")
    assert isinstance(fault, Delay)
    assert (fault.seconds, fault.jitter, fault.seed, fault.client_id) == (0.5, 0.1, 7, "dev1")
    assert str(fault) == "delay:client_id=dev1,seconds=0.5,jitter=0.1,seed=7,direction=to-client"
    assert str(read("refuse")) == "refuse"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("dely:seconds=1", "fault 'dely' does not exist", "did you mean delay?"),
        ("x", "fault 'x' does not exist", "there is refuse, silent, swallow-first-record, connack"),
        ("delay:secs=1", "fault delay has no parameter 'secs'", "did you mean seconds?"),
        ("delay", "fault delay needs seconds", "seconds: how much longer"),
        ("delay:seconds", "fault delay: 'seconds' is no key=value", "NAME:key=value"),
        ("delay:seconds=-1", "fault delay: seconds should be greater than or equal to 0, not '-1'", "seconds: how"),
        ("delay:seconds=nan", "fault delay: seconds", "seconds: how"),
        ("connack:code=0", "fault connack: code should be greater than or equal to 1, not '0'", "MQTT 3.1.1"),
        ("connack:code=256", "fault connack: code should be less than or equal to 255, not '256'", "MQTT 3.1.1"),
        ("reset:after=-1", "fault reset: after should be greater than or equal to 0, not '-1'", "bytes that pass"),
        ("reset:direction=up", "fault reset: direction should be 'both', 'to-gateway' or 'to-client'", "whose bytes"),
        ("reset:client_id=a,since=accept", "fault reset: a client id is known since connect, not since accept", "its"),
        ("slow:bytes_per_second=0", "fault slow: bytes_per_second should be greater than or equal to 1", "how many"),
        ("refuse:listener=amqp", "fault refuse: listener should be 'mqtt' or 'https', not 'amqp'", "at this listener"),
        ("refuse:connections=1", "fault refuse has no parameter 'connections'", "there is listener"),
    ],
)
def test_mistake_names_what_is_wrong_and_what_there_is(text, message, hint):
    """An error has the word concerned, a hint, and the exit code of wrong usage."""
    with pytest.raises(FaultError) as wrong:
        read(text)
    assert wrong.value.message.startswith(message)
    assert hint in wrong.value.hint
    assert wrong.value.exit_code == 2


class Wire:
    """A line whose loop stands at noon."""

    def __init__(self):
        self.loop = self

    def time(self):
        """Seconds."""
        return 100.0


def test_jitter_repeats_with_its_seed_and_differs_between_connections():
    """The same seed and connection give the same delays, all within bounds; without a seed they do not repeat."""

    def delays(seed, channel):
        effect = make("delay", {"seconds": 1, "jitter": 0.5, "seed": seed}).effect(Wire(), channel)
        return [effect.due(b"x", 0) - 100 for _ in range(50)]

    assert delays(7, "00000001") == delays(7, "00000001")
    assert delays(7, "00000001") != delays(7, "00000002")
    assert delays(None, "00000001") != delays(None, "00000001")
    assert 0.5 <= min(delays(7, "1")) < max(delays(7, "1")) <= 1.5


def test_slow_gives_each_part_the_time_of_its_bytes():
    """A thousand bytes at a thousand bytes a second pass within one second, in parts, and an end takes no time."""
    effect = make("slow", {"bytes_per_second": 1_000}).effect(Wire(), "")
    parts = effect.split(bytes(1_000))
    assert [len(part) for part in parts] == [50] * 20
    last = 100.0
    for part in parts:
        last = effect.due(part, last)
    assert last == pytest.approx(101.0)
    assert effect.due(End.CLOSE, last) == last
    assert effect.split(End.CLOSE) == [End.CLOSE]


class Recorder:
    """A line that notes what passes and what is done to it."""

    def __init__(self):
        self.passed = []
        self.was_reset = False

    def forward(self, way, piece, behind):
        """Note it."""
        self.passed.append(piece)

    def reset(self):
        """Note it."""
        self.was_reset = True


@pytest.mark.parametrize("seed", range(20))
def test_first_record_vanishes_however_the_stream_is_cut(seed):
    """Whatever pieces the bytes come in, one record is missing and the rest is there."""
    chance = random.Random(seed)
    record, rest = b"\x16\x03\x01" + (200).to_bytes(2, "big") + bytes(200), b"\x14\x03\x03\x00\x01\x01" + bytes(99)
    line = Recorder()
    effect = make("swallow-first-record", {}).effect(line, "")
    stream = record + rest
    while stream:
        count = chance.randint(1, 80)
        effect.take(Way.TO_GATEWAY, stream[:count])
        stream = stream[count:]
    assert b"".join(line.passed) == rest
    effect.lift()
    assert line.was_reset


def test_untouched_connection_is_not_reset_when_a_fault_that_loses_bytes_ends():
    """Only a stream with a hole has to end."""
    for name, given in (("swallow-first-record", {}), ("drop-after", {"after": 10})):
        line = Recorder()
        effect = make(name, given).effect(line, "")
        effect.lift()
        assert not line.was_reset
