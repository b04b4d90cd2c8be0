"""Waves for the cloud: ten messages of each of ten clients."""

import pytest

from gateway.hub.cloud_endpoint import CloudEndpoint
from gateway.hub.messages import Message
from gateway.hub.routing.source import twin_change


def message(number, device="press", module=None, size=10):
    """A message of a client."""
    return Message(number, device, module, 0, "{}", "{}", bytes(size))


class Line:
    """What carries batches: at once, or when `answer` is called; `refusing` has the numbers that come back."""

    def __init__(self, *, batch_size=10, fan_out=10, slow=False):
        self.batches, self.refusing, self.open = [], set(), []
        self.slow = slow
        self.told = []
        self.endpoint = CloudEndpoint(self.carry, batch_size=batch_size, fan_out=fan_out)

    def carry(self, batch, done):
        """Take a batch."""
        self.batches.append(batch)
        if self.slow:
            self.open.append((batch, done))
        else:
            done([one for one in batch if one.sequence in self.refusing])

    def answer(self, which=0):
        """The oldest batch that is on its way has arrived, or what of it is not refused."""
        batch, done = self.open.pop(which)
        done([one for one in batch if one.sequence in self.refusing])

    def send(self, messages):
        """Send; the numbers that have to be sent again end in `told`."""
        self.endpoint.send(messages, lambda failed: self.told.append([one.sequence for one in failed]))

    @property
    def numbers(self):
        """The numbers of each batch."""
        return [[one.sequence for one in batch] for batch in self.batches]


def test_few_messages_go_up_as_they_came():
    """Ten of whatever clients are one wave; it keeps the order in which they were stored."""
    line = Line()
    line.send([message(number, f"dev{number % 4}") for number in range(1, 11)])
    assert (line.numbers, line.told) == ([list(range(1, 11))], [[]])


def test_wave_has_a_batch_of_each_client():
    """A module is a client of its own; who has more than a batch is in the next wave, too."""
    line = Line(batch_size=2)
    line.send([message(1), message(2, "mill"), message(3), message(4, "mill", "m"), message(5), message(6)])
    assert (line.numbers, line.told) == ([[1, 2, 3, 4], [5, 6]], [[]])


def test_batch_has_ten_messages_at_most():
    """MaxUpstreamBatchSize; the next one leaves when the one before it has arrived."""
    line = Line(slow=True)
    line.send([message(number) for number in range(1, 26)])
    assert line.numbers == [list(range(1, 11))]
    line.answer()
    assert line.numbers[1:] == [list(range(11, 21))]
    line.answer()
    assert (line.numbers[2:], line.told) == ([[21, 22, 23, 24, 25]], [])
    line.answer()
    assert line.told == [[]]


@pytest.mark.parametrize(
    ("size", "count", "expected"), [(10, 12, [10, 2]), (60_000, 12, [4, 4, 4]), (200_000, 3, [1] * 3)]
)
def test_batch_is_no_larger_than_iot_hub_takes(size, count, expected):
    """By the largest message of the client, as the product reckons."""
    line = Line()
    line.send([message(number, size=size if number < 4 else 10) for number in range(1, count + 1)])
    assert [len(batch) for batch in line.batches] == expected


def test_ten_clients_send_at_once():
    """UpstreamFanOutFactor; the next ones wait until all of these are done."""
    line = Line(slow=True, batch_size=1)
    line.send([message(number, f"dev{number % 12}") for number in range(24)])
    assert line.numbers == [list(range(10))]
    line.answer()
    assert line.numbers[1:] == [list(range(12, 22))]
    line.answer()
    assert line.numbers[2:] == [[10, 11]]
    line.answer()
    assert (line.numbers[3:], line.told) == ([[22, 23]], [])
    line.answer()
    assert line.told == [[]]


def test_client_whose_batch_failed_waits_while_others_go_on():
    """What failed and all that follows of that client comes back, in the order of the numbers."""
    line = Line(batch_size=2)
    line.refusing = {4}
    line.send([message(number, "mill" if number % 2 else "press") for number in range(1, 13)])
    assert line.numbers == [[1, 2, 3, 4], [5, 7], [9, 11]]
    assert line.told == [[4, 6, 8, 10, 12]]


def test_many_batches_that_arrive_at_once_need_no_depth():
    """Settings far beyond the product's do not end in a RecursionError, slow or not."""
    for slow in (False, True):
        line = Line(batch_size=1, fan_out=1, slow=slow)
        line.send([message(number, f"dev{number % 2_000}") for number in range(6_000)])
        while line.open:
            line.answer()
        assert (len(line.batches), line.told) == (6_000, [[]])


def test_line_that_takes_no_time_gets_everything_as_it_came():
    """Waves would make no difference but for the order among clients."""
    line = Line()
    line.endpoint = CloudEndpoint(line.carry, batch_size=2, fan_out=2, instant=lambda: not line.slow)
    line.refusing = {7}
    line.send([message(number, f"dev{number % 5}") for number in range(20)])
    assert (line.numbers, line.told) == ([list(range(20))], [[7]])
    line.slow = True
    line.send([message(number, f"dev{number % 5}") for number in range(20)])
    assert line.numbers[1:] == [[0, 1, 5, 6]]


def test_iot_hub_is_not_told_whose_twin_has_changed():
    """A twin change is the hub's own; who made it is for routes and modules (DeviceClientMessageConverter.cs)."""
    own = twin_change("edge", "press", "m")
    line = Line()
    line.send([Message(1, own.device_id, own.module_id, 0, own.properties, own.system_properties, b'{"fan":1}')])
    ((sent,),) = line.batches
    assert (sent.device_id, sent.module_id, sent.body) == ("edge", "$edgeHub", b'{"fan":1}')
    assert sent.system_properties == '{"iothub-message-schema":"twinChangeNotification"}'
