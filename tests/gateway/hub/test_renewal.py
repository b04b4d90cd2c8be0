"""When Edge Hub and the daemon renew."""

import pytest

from gateway.hub import renewal

MINUTE, DAY = 60.0, 86_400.0


@pytest.mark.parametrize(
    ("left", "wait"),
    [
        (30 * DAY, 30 * DAY - 150),
        (5 * MINUTE + 1, 151),
        (5 * MINUTE, None),  # not after it, as in the product
        (150, None),
        (0, None),
        (-DAY, None),
    ],
)
def test_restart_comes_half_of_five_minutes_before_the_end(left, wait):
    """Unless no more than five minutes are left: then nothing is scheduled."""
    assert renewal.restart_in(left) == wait


@pytest.mark.parametrize(("now", "wait"), [(0, 72 * DAY), (71 * DAY, DAY), (72 * DAY, 0), (100 * DAY, 0)])
def test_ca_of_the_daemon_is_renewed_at_four_fifths_of_its_life(now, wait):
    """At once when that is over."""
    assert renewal.ca_renewal_in(0, 90 * DAY, now) == wait


def test_module_rests_longer_each_time_and_five_minutes_at_most():
    """Edge Agent's cool-off."""
    assert [renewal.cool_off(number) for number in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    assert renewal.cool_off(5_000) == 300


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (-278.87, "-00:04:38"),
        (149, "00:02:29"),
        (30 * DAY + 3661, "30.01:01:01"),
        (-DAY, "-1.00:00:00"),
    ],
)
def test_span_is_written_as_dotnet_does(seconds, text):
    """TimeSpan, format "c", without fractions."""
    assert renewal.span(seconds) == text
