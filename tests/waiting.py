"""Waiting in tests of asynchronous code."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from services.benchmarks.simulation.virtual_loop import run_virtually


async def run_ready_tasks(times: int = 10) -> None:
    """Yield to the event loop, so that all ready tasks run."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Raise `TimeoutError` after 90 seconds."""
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.002)


async def unchanged(value: Callable[[], object], seconds: float = 0.3) -> None:
    """Wait until the value has been the same for some seconds."""
    loop = asyncio.get_running_loop()
    latest, since = value(), loop.time()
    while loop.time() - since < seconds:
        await asyncio.sleep(0.01)
        if value() != latest:
            latest, since = value(), loop.time()


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on a virtual clock, see `run_virtually`: the load of the machine has no effect."""

    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        run_virtually(test(*arguments, **options))

    return run


class LoopHolds:
    """The longest processor time for which the event loop was held while the context was open, in seconds.

    Other load of the machine does not count, and neither do the objects of earlier tests, which Python's garbage
    collector would look at.
    """

    longest = 0.0

    async def __aenter__(self) -> Self:
        gc.collect()
        gc.freeze()
        self._task = asyncio.create_task(self._measure())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        gc.unfreeze()

    async def _measure(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            after = time.thread_time()
            self.longest, before = max(self.longest, after - before), after


class LoopSeconds:
    """The time that passed for timers of the event loop while the context was open, in seconds.

    It is the number of short timers that fired one after another. A machine with other load fires fewer of them in a
    second, so a limit of this time cannot be exceeded by that load, while each timer of the tested code counts.
    """

    seconds = 0.0
    _INTERVAL = 0.01

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(self._INTERVAL)
            self.seconds += self._INTERVAL
