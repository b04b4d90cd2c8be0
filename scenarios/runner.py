"""Plays scenarios: each with its own gateway and leaves, several at once.

Rule: a run ends with a Result for every scenario, whatever happens in one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from scenarios.causes import explain
from scenarios.errors import NotAsExpected, SkippedError
from scenarios.model import Loaded
from scenarios.results import Result, Run, Status
from scenarios.stage import Stage


async def play(loaded: Loaded, *, seed: int) -> Result:
    """Play one scenario."""
    started = time.monotonic()
    with TemporaryDirectory(prefix="leafgate-scenario-") as folder:
        player = _Player(loaded, seed, Path(folder))
        await player.play()
    return player.result(time.monotonic() - started)


async def play_all(
    scenarios: Sequence[Loaded], *, seed: int, jobs: int = 1, each: Callable[[Result], None] | None = None
) -> Run:
    """Play all scenarios, `jobs` at a time; `each` is told every result in the order of `scenarios`."""
    started = time.monotonic()
    room = asyncio.Semaphore(max(1, jobs))

    async def one(loaded: Loaded) -> Result:
        async with room:
            return await play(loaded, seed=seed)

    tasks = [asyncio.create_task(one(loaded)) for loaded in scenarios]
    results = []
    for task in tasks:
        results.append(await task)
        if each:
            each(results[-1])
    return Run(seed, tuple(results), time.monotonic() - started)


class _Player:
    """One scenario being played."""

    def __init__(self, loaded: Loaded, seed: int, folder: Path) -> None:
        self._loaded = loaded
        self._seed = seed
        self._folder = folder
        self._stage: Stage | None = None
        self._status: Status = "passed"
        self._facts: dict[str, str] = {}

    async def play(self) -> None:
        """Play every step, up to the first that does not come out as expected."""
        try:
            self._stage = Stage(self._loaded, seed=self._seed, folder=self._folder)
            async with self._stage as stage:
                for number, step in enumerate(self._loaded.scenario.steps, 1):
                    self._facts["step"] = f"step {number} ({step.title})"
                    await step.play(stage)
                self._facts.pop("step", None)
        except NotAsExpected as outcome:
            assert self._stage is not None
            why, fix = explain(self._stage)
            self._end("failed", str(outcome), expected=outcome.expected, got=outcome.got, why=why, fix=fix)
        except SkippedError as skipped:
            self._end("skipped", skipped.message)
        except Exception as error:  # noqa: BLE001 - one scenario must not take the others with it
            self._end("error", _in_words(error))

    def _end(self, status: Status, reason: str, **facts: str) -> None:
        self._status = status
        self._facts |= {"reason": reason, **facts}

    def result(self, duration: float) -> Result:
        """What is known now."""
        scenario, stage = self._loaded.scenario, self._stage
        facts = {"why": scenario.cause or "", "fix": scenario.fix or "", **self._facts}
        return Result(
            file=str(self._loaded.path),
            name=self._loaded.name,
            claim=self._loaded.claim,
            status=self._status,
            duration=duration,
            era=scenario.era or "",
            counterpart=scenario.counterpart or "",
            rows=stage.timeline.rows if stage else (),
            stacks=tuple(stage.notes) if stage else (),
            **facts,
        )


def _in_words(error: Exception) -> str:
    message = getattr(error, "message", None)
    if message is None:
        return f"{type(error).__name__}: {error}"
    hint = getattr(error, "hint", None)
    return f"{message}; {hint}" if hint else str(message)
