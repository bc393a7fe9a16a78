"""Waiting for a change of a cluster, with progress for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from motet.core.clock import now
from motet.core.errors import DeadlineError, RetryableError
from services.orchestrator.discovery.backoff import Backoff
from services.terminal import print_status

_MIN_INTERVAL, _MAX_INTERVAL = 0.5, 5.0
"""Minimum and maximum time between two looks, in seconds, before jitter. It grows while nothing changes."""


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the cluster: whether the wait is over, and the lines that describe the state."""

    done: bool
    lines: Sequence[str] = ()


class Patience:
    """Waits that end together, after `seconds` from now, or never with None. `advice` ends the error.

    Each line of progress is printed when it appears. A server that is away is tried again.
    """

    def __init__(self, seconds: float | None, advice: str) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else now() + seconds
        self._advice = advice

    async def until(self, look: Callable[[], Awaitable[Look]]) -> None:
        """Look until the wait is over. Raises `DeadlineError` with the latest line."""
        backoff = Backoff(_MIN_INTERVAL, _MAX_INTERVAL)
        shown: set[str] = set()
        while True:
            try:
                latest = await look()
            except RetryableError as error:
                latest = Look(False, (error.message,))
            for line in latest.lines:
                if line not in shown:
                    print_status(line)
                    backoff.reset()
            shown = set(latest.lines)
            if latest.done:
                return
            if self._end is not None and now() >= self._end:
                line = latest.lines[0] if latest.lines else "the cluster did not change"
                raise DeadlineError(f"{line}, after {self._seconds:.0f} seconds: {self._advice}, or raise --timeout")
            await asyncio.sleep(backoff.seconds())
