"""What has arrived at IoT Hub: numbered, handed to every sink, and read by whoever asks.

Rules: each message gets the next number when it arrives; a number is never used twice, also over restarts with a
history on disk. What arrives in one turn of the event loop goes to the sinks together, and the sender is told that it
has arrived after every sink has it. What one sink did not take is sent again: other sinks may then have it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from gateway.clock import SystemClock
from gateway.errors import GatewayError, StoreError
from gateway.hub.messages import Message
from gateway.upstream.arrivals import TELEMETRY, Batch, Client, Delivered, Origins
from gateway.upstream.handouts import Handouts
from gateway.upstream.sinks.memory import Memory
from gateway.upstream.sinks.sink import History, Sink

#: told which messages have to be sent again
Done = Callable[[Sequence[Message]], None]
#: what is known of senders; those that are not registered are left out
OriginsOf = Callable[[Iterable[Client]], Origins]


class _Given(NamedTuple):
    source: str
    messages: Sequence[Message]
    done: Done


class Inbox:
    """Takes messages in, and keeps the last ones in memory: at most `limit` of them, and `byte_limit` bytes.

    `messages`, `next_message` and the counts are about telemetry unless another source is asked for.
    """

    def __init__(
        self,
        limit: int = 100_000,
        byte_limit: int = 1 << 28,
        *,
        now: Callable[[], float] | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.origins_of: OriginsOf = lambda clients: {}
        self.last = 0  # the highest number given
        self.memory = Memory(limit, byte_limit)
        self._now = now or SystemClock().now
        self._log = log or logging.getLogger(__name__)
        self._sinks: tuple[Sink, ...] = ()
        self._taken = False
        self._given: list[_Given] = []
        self._handouts = Handouts()
        self._arrived = asyncio.Event()
        self._waiting_for_sinks: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return self.memory.kept[TELEMETRY]

    @property
    def forgotten(self) -> int:
        """How many messages had to go."""
        return self.memory.forgotten[TELEMETRY]

    @property
    def messages(self) -> tuple[Delivered, ...]:
        """Everything kept, oldest first."""
        return tuple(chain.from_iterable(batch for batch in self.memory.after(0) if batch.source == TELEMETRY))

    # -- sinks --------------------------------------------------------------------------------------------------------

    def open(self, sinks: Sequence[Sink]) -> None:
        """Hand everything to these sinks from now on. Raises StoreError; then none is open."""
        opened: list[Sink] = []
        try:
            for sink in sinks:
                sink.open()
                opened.append(sink)
                if isinstance(sink, History):
                    self.last = max(self.last, sink.last)
        except BaseException:
            for sink in opened:
                sink.close()
            raise
        self._sinks = tuple(sinks)

    def settle(self) -> None:
        """Hand over what has been given, and what is given because of that."""
        while self._given:
            self._flush()

    def close(self) -> None:
        """Hand over what has been given, and let go of the sinks."""
        self.settle()
        sinks, self._sinks = self._sinks, ()
        for waiting in tuple(self._waiting_for_sinks):
            waiting.cancel()
        for sink in reversed(sinks):
            sink.close()

    @property
    def history(self) -> History | None:
        """The sink from which older messages can be read."""
        return next((sink for sink in self._sinks if isinstance(sink, History)), None)

    # -- what arrives -------------------------------------------------------------------------------------------------

    def deliver(self, messages: Sequence[Message], source: str = TELEMETRY) -> None:
        """Take messages in at once."""
        self._given.append(_Given(source, messages, _nobody_asks))
        self._flush()

    def receive(self, messages: Sequence[Message], done: Done, source: str = TELEMETRY) -> None:
        """Take messages in, with what else comes in this turn of the event loop; `done` is told the outcome."""
        self._given.append(_Given(source, messages, done))
        if not self._sinks:
            self._flush()
        elif len(self._given) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._flush)
            except RuntimeError:  # a back end on another thread
                self._flush()

    def _flush(self) -> None:
        given, self._given = self._given, []
        if not given:
            return
        before = self.last
        batches = list(self._number(given))
        try:
            pending = self._hand_over(batches)
        except StoreError as error:
            self._log.error("%s", error.message)
            if not self._taken:
                self.last = before
            self._tell_back(given)
            return
        for batch in batches:
            self.memory.add(batch)
        self._arrived.set()
        if pending:
            self._wait(pending, given)
        else:
            for each in given:
                each.done(())

    def _number(self, given: Sequence[_Given]) -> Iterator[Batch]:
        at = int(self._now() * 1000)
        for source, group in groupby(given, key=lambda each: each.source):
            parts = [each.messages for each in group if each.messages]
            messages = parts[0] if len(parts) == 1 else tuple(chain.from_iterable(parts))
            if not messages:
                continue
            origins: Origins = {}
            if source == TELEMETRY:
                origins = self.origins_of({(message.device_id, message.module_id) for message in messages})
            first, self.last = self.last + 1, self.last + len(messages)
            yield Batch(first, at, source, origins, messages)

    def _hand_over(self, batches: Sequence[Batch]) -> list[Awaitable[None]]:
        """Give batches to every sink; what is returned has to be waited for. Raises StoreError."""
        pending = []
        self._taken = False  # whether a sink may know the numbers
        for sink in self._sinks if batches else ():
            self._taken = self._taken or not isinstance(sink, History)
            try:
                answer = sink.take(batches)
            except GatewayError as error:
                raise StoreError(error.message, error.hint) from None
            except Exception as wrong:  # anybody may have written the sink
                raise StoreError(f"the sink {type(sink).__name__} failed: {type(wrong).__name__}: {wrong}") from wrong
            self._taken = True
            if answer is not None:
                pending.append(answer)
        return pending

    def _wait(self, pending: Sequence[Awaitable[None]], given: Sequence[_Given]) -> None:
        async def wait() -> None:
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
            wrong = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            for each in wrong:
                self._log.error("a sink did not take messages: %s", each)
            for told in given:
                told.done(told.messages if wrong else ())

        task = asyncio.get_running_loop().create_task(wait())
        self._waiting_for_sinks.add(task)
        task.add_done_callback(self._waiting_for_sinks.discard)

    @staticmethod
    def _tell_back(given: Sequence[_Given]) -> None:
        for each in given:
            each.done(each.messages)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def wait(self, after: int) -> None:
        """Wait until there is a message with a number above `after`."""
        while self.last <= after:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self, device_id: str | None = None, *, source: str = TELEMETRY) -> Delivered | None:
        """The next message not yet handed out; None when there is none. With `device_id`, the next of that device."""
        return self._handouts.take(self.memory, self.last, device_id, source)

    async def next_message(
        self,
        device_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the public interface
        *,
        source: str = TELEMETRY,
    ) -> Delivered:
        """The next message not yet handed out, waiting for it up to `timeout` seconds (TimeoutError).

        With `device_id`, the next one of that device; those of others stay for whoever asks for them.
        """
        async with asyncio.timeout(timeout):
            while (found := self.take(device_id, source=source)) is None:
                await self.wait(self.last)
        return found

    def clear(self) -> None:
        """Forget everything that arrived; numbers go on."""
        self.memory.clear()
        self._handouts.clear()
        if self.history is not None:
            self.history.forget()


def _nobody_asks(again: Sequence[Message]) -> None:
    """For what is not sent again."""
