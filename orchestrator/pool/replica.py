"""One of several workers that do the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Generic, TypeVar

from motet.core.capacity import REPORT_INTERVAL, Load
from motet.core.closing import closing
from motet.core.errors import MotetError, OverloadedError, Reason, RetryableError
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.queued_call import QueuedCall

Worker = TypeVar("Worker")
Loads = Callable[[], AsyncIterator[Load]]
"""Begins to listen to a worker's load. The stream ends, or raises `MotetError`, when the worker cannot be reached."""

_PATIENCE = 0.1, 2.0
"""Seconds between two attempts to listen to a worker that is away, at first and at last."""

_SILENCE = 3 * REPORT_INTERVAL
"""Seconds after which a worker that tells nothing is taken to be away."""


class Replica(Generic[Worker]):
    """A worker, what it has to do, and whether it should be given more.

    Without `loads` it is in this process: always there, and without a limit.
    """

    def __init__(
        self, worker: Worker, loads: Loads | None, pace: DurationEstimate, breaker: CircuitBreaker, random: Random
    ) -> None:
        self.worker = worker
        self.breaker = breaker
        self.calls: dict[QueuedCall, None] = {}
        """The calls that it works on for this pool."""
        self.expected: dict[QueuedCall, None] = {}
        """Calls that will probably come; nothing waits for them."""
        self._loads = loads
        self._pace = DurationEstimate(guess=pace)
        self._random = random
        self._ready = loads is None
        self._load = Load()
        self._foreign = 0.0

    @property
    def slots(self) -> int:
        """How many calls it works on at a time; 0 for any number."""
        return self._load.slots

    @property
    def free(self) -> bool:
        """Whether it would work on one more call at once, so far as this pool knows."""
        return not self.slots or len(self.calls) < self.slots

    @property
    def draining(self) -> bool:
        """Whether it refuses calls because it is about to stop."""
        return self._load.draining

    def usable(self, now: float) -> bool:
        """Whether calls should go there: it is heard of, does not drain, and is not ejected."""
        return self._ready and not self._load.draining and self.breaker.admits(now)

    def outstanding(self, units: float = 0.0) -> float:
        """Predicted seconds until it has done all it has to do, and so many units more."""
        # Copies, because metrics are read from a thread of their own.
        own = sum(max(0.0, ticket.units - ticket.done) for ticket in tuple(self.calls))
        coming = sum(ticket.units for ticket in tuple(self.expected))
        return self._foreign + self._pace.seconds(own + coming + units)

    def begin(self, ticket: QueuedCall, now: float) -> None:
        """It gets a call."""
        ticket.started, ticket.done = now, 0.0
        self.calls[ticket] = None
        self.breaker.begin()

    def end(self, ticket: QueuedCall, now: float, error: MotetError | None, whole: bool) -> bool:
        """A call is over: it failed, was done as a `whole`, or was broken off. Whether that ejects the replica."""
        del self.calls[ticket]
        if whole and ticket.started is not None:
            self._pace.learn(now - ticket.started, ticket.units)
            self.breaker.succeed()
        elif isinstance(error, RetryableError) and not _polite(error):
            return self.breaker.fail(now)
        else:
            self.breaker.pass_over()
        return False

    async def listen(self, changed: Callable[[], None]) -> None:
        """Follow the worker's load for ever, and call `changed` after each change.

        While it is away it is not ready; so is one that tells nothing for too long, as one that is frozen does.
        """
        if self._loads is None:
            return
        wait, longest = _PATIENCE
        while True:
            try:
                async with closing(self._loads()) as loads:
                    while (load := await _within(_SILENCE, loads)) is not None:
                        self._hear(load)
                        wait = _PATIENCE[0]
                        changed()
            except (MotetError, TimeoutError):
                pass  # told by the replica's not being ready, and by whatever is asked of it
            self._ready = False
            changed()
            await asyncio.sleep(wait * self._random.uniform(0.5, 1.0))
            wait = min(longest, wait * 2)

    def _hear(self, load: Load) -> None:
        self._ready, self._load = True, load
        calls = load.running + load.queued
        # What the worker tells includes this pool's own calls, of which it knows less than the pool does.
        self._foreign = load.seconds * max(0, calls - len(self.calls)) / calls if calls else 0.0


async def _within(seconds: float, loads: AsyncIterator[Load]) -> Load | None:
    """The next load; None where there are no more. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        return await anext(loads, None)


def _polite(error: RetryableError) -> bool:
    """Whether a worker that is in order would say so."""
    return isinstance(error, OverloadedError) or error.reason is Reason.DRAINING
