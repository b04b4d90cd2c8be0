"""The timer that counts what passes."""

import asyncio

from gateway import ManualClock, SystemClock
from gateway.timer import Timer


async def test_timer_rings_once_when_its_time_has_been_made_to_pass():
    """Looked at before and after; a clock that is set alone does not count."""
    clock, rung = ManualClock(0.0), []
    timer = Timer(clock, lambda: rung.append(clock.running()))
    timer.set(100)
    clock.step(1_000)
    timer.check()
    clock.advance(99)
    timer.check()
    assert rung == []
    clock.advance(1)
    timer.check()
    timer.check()
    assert rung == [100]


async def test_timer_rings_by_itself_when_real_time_passes():
    """On the machine's clock nobody has to look."""
    rung = asyncio.Event()
    timer = Timer(SystemClock(), rung.set)
    timer.set(0.01)
    async with asyncio.timeout(20):
        await rung.wait()
    timer.cancel()


async def test_timer_that_is_set_again_or_cancelled_forgets_what_it_was_set_for():
    """The last word counts."""
    clock, rung = ManualClock(0.0), []
    timer = Timer(clock, lambda: rung.append(1))
    timer.set(10)
    timer.set(50)
    clock.advance(20)
    timer.check()
    assert rung == []
    timer.cancel()
    clock.advance(50)
    timer.check()
    assert rung == []
