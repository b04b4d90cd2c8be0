"""What has arrived at IoT Hub: numbered, handed to every sink, and read by whoever asks.

Rules: each message gets the next number when it arrives; a number is never used twice, also over restarts with a
history on disk. The sender is told that a batch has arrived after every sink has taken it, and the gateway's store lets
go of it only after `keep` has returned. What one sink did not take is sent again: other sinks may then have it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain

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
        self.history: History | None = None  # the sink from which older messages can be read
        self._sinks: tuple[Sink, ...] = ()
        self._taken = False
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
        self.history = next((sink for sink in sinks if isinstance(sink, History)), None)

    def close(self) -> None:
        """Let go of the sinks."""
        sinks, self._sinks = self._sinks, ()
        self.history = None
        for waiting in tuple(self._waiting_for_sinks):
            waiting.cancel()
        for sink in reversed(sinks):
            sink.close()

    # -- what arrives -------------------------------------------------------------------------------------------------

    def deliver(self, messages: Sequence[Message], source: str = TELEMETRY) -> None:
        """Take messages in that nobody sends again."""
        self.receive(messages, _nobody_asks, source)

    def receive(self, messages: Sequence[Message], done: Done, source: str = TELEMETRY) -> None:
        """Take messages in; `done` is told which of them have to be sent again."""
        if not messages:
            done(())
            return
        before = self.last
        batch = self._number(messages, source)
        try:
            pending = self._hand_over(batch)
        except StoreError as error:
            self._log.error("%s", error.message)
            if not self._taken:
                self.last = before
            done(messages)
            return
        self.memory.add(batch)
        self._arrived.set()
        if pending:
            self._wait(pending, messages, done)
        else:
            done(())

    def keep(self) -> None:
        """Return once everything that was taken outlives the process. Raises StoreError."""
        if self.history is not None:
            self.history.flush()

    def _number(self, messages: Sequence[Message], source: str) -> Batch:
        origins: Origins = {}
        if source == TELEMETRY:
            origins = self.origins_of({(message.device_id, message.module_id) for message in messages})
        first, self.last = self.last + 1, self.last + len(messages)
        return Batch(first, int(self._now() * 1000), source, origins, messages)

    def _hand_over(self, batch: Batch) -> list[Awaitable[None]]:
        """Give a batch to every sink; what is returned has to be waited for. Raises StoreError."""
        pending = []
        self._taken = False  # whether a sink may know the numbers
        for sink in self._sinks:
            self._taken = self._taken or sink is not self.history
            try:
                answer = sink.take(batch)
            except GatewayError as error:
                raise StoreError(error.message, error.hint) from None
            except Exception as wrong:  # anybody may have written the sink
                raise StoreError(f"the sink {type(sink).__name__} failed: {type(wrong).__name__}: {wrong}") from wrong
            self._taken = True
            if answer is not None:
                pending.append(answer)
        return pending

    def _wait(self, pending: Sequence[Awaitable[None]], messages: Sequence[Message], done: Done) -> None:
        async def wait() -> None:
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
            wrong = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            for each in wrong:
                self._log.error("a sink did not take messages: %s", each)
            done(messages if wrong else ())

        task = asyncio.get_running_loop().create_task(wait())
        self._waiting_for_sinks.add(task)
        task.add_done_callback(self._waiting_for_sinks.discard)

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
