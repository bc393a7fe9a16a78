"""An event loop whose clock is made up: time jumps to the next timer whenever nothing is ready."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_RESOLUTION = 1e-9
"""Seconds by which a timer may come early: adding up floats is not exact."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs a program's hours in the time that its computing takes; the same program runs the same way every time.

    It is for programs that wait for timers and for each other alone. Waiting for a thread, a file or a socket is not
    waiting for time: the clock may jump on meanwhile. A program in which everybody waits for somebody else is told so,
    by `RuntimeError`, instead of hanging.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self._jump))
        self._clock_resolution = _RESOLUTION

    def time(self) -> float:
        """Seconds since the loop was made, as made up so far."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    """A selector that never waits: it has the time pass instead."""

    def __init__(self, jump: Any) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing is ready and no timer is set: everybody waits for somebody else, for ever")
        if not ready and timeout:
            self._jump(timeout)
        return ready


def run_virtually(program: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on a virtual clock that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(program)
