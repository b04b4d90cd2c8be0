"""Which messages have been handed out, each once, to those who ask for the next one.

Rule: everything through the number that is noted for a question has been looked at for it. What was handed out to
somebody who asked for one device is remembered until the question about all devices has passed it.
"""

from __future__ import annotations

from gateway.upstream.arrivals import Delivered
from gateway.upstream.sinks.memory import Memory

_SPARE = 1_000  # remembered numbers that are not worth a sweep

Question = tuple[str, str | None]  # source, and device or all of them


class Handouts:
    """Remembers what has been handed out."""

    def __init__(self) -> None:
        self._passed: dict[Question, int] = {}
        self._handed: set[int] = set()

    def take(self, memory: Memory, last: int, device_id: str | None, source: str) -> Delivered | None:
        """The oldest message in `memory` not handed out; `last` is the highest number there has been."""
        question, everybody = (source, device_id), (source, None)
        after = max(self._passed.get(question, 0), self._passed.get(everybody, 0))
        for batch in memory.after(after):
            if batch.source != source:
                continue
            for index, message in enumerate(batch.messages):
                number = batch.first + index
                if device_id not in (None, message.device_id):
                    continue
                if number in self._handed:
                    if device_id is None:
                        self._handed.discard(number)
                    continue
                self._note(question, number, memory)
                return batch.delivered(index)
        self._passed[question] = last
        return None

    def clear(self) -> None:
        """Everything has been forgotten."""
        self._passed.clear()
        self._handed.clear()

    def _note(self, question: Question, number: int, memory: Memory) -> None:
        self._passed[question] = number
        if question[1] is None:
            return
        self._handed.add(number)
        if len(self._handed) > _SPARE + sum(memory.kept.values()):
            oldest = memory.first or 0
            self._handed = {each for each in self._handed if each >= oldest}
