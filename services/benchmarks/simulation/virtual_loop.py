"""An event loop with a virtual clock: if nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_RESOLUTION = 1e-9
"""Seconds by which a timer may fire early, because sums of floats are inexact."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that runs hours of timers in the time of the computation alone. Runs are repeatable.

    A program may wait only for timers and for its own tasks. It must not wait for a thread, a file or a socket: the
    clock can jump meanwhile. A program whose tasks all wait for each other gets a `RuntimeError` instead of a deadlock.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._jump))
        self._clock_resolution = _RESOLUTION

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances the clock instead of waiting."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the events that are ready now."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: no task is ready and no timer is set")
        if not ready and timeout:
            self._jump(timeout)
        return ready


def run_virtually(program: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like `asyncio.run`, on a virtual clock that starts at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(program)
