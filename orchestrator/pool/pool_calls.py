"""The calls of a pool from their start to their end, and an event when the first begins or the last has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from motet.core.clock import now
from orchestrator.pool.demand import Demand
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.queued_call import QueuedCall

_MIN_UNITS = 1.0
"""Work of a call that has not ended, in units, even if it was predicted to have ended."""


class PoolCalls:
    """The calls of a pool that wait, run, or are between two attempts, and those that have a reservation.

    `estimate` predicts their durations.
    """

    def __init__(self, estimate: DurationEstimate) -> None:
        self._estimate = estimate
        self._calls: dict[QueuedCall, None] = {}
        self._watches: set[asyncio.Event] = set()

    def add(self, call: QueuedCall) -> None:
        """Count a call until it is discarded. A call counts once."""
        self._calls[call] = None
        if len(self._calls) == 1:
            self._notify()

    def discard(self, call: QueuedCall) -> None:
        """Count a call no more."""
        if call in self._calls:
            del self._calls[call]
            if not self._calls:
                self._notify()

    @contextmanager
    def counted(self, call: QueuedCall) -> Iterator[None]:
        """Count a call inside the context."""
        self.add(call)
        try:
            yield
        finally:
            self.discard(call)

    @property
    def demand(self) -> Demand:
        """The present demand."""
        # A copy, because metrics are read from another thread.
        calls, moment = tuple(self._calls), now()
        units = sum(max(_MIN_UNITS, call.units - call.done) for call in calls)
        oldest = min((call.since for call in calls if call.ready), default=moment)
        return Demand(len(calls), self._estimate.seconds(units), max(0.0, moment - oldest))

    @property
    def waiting(self) -> int:
        """The number of calls that wait for a replica."""
        # A copy, because metrics are read from another thread.
        return sum(call.ready for call in tuple(self._calls))

    async def watch_active(self) -> AsyncGenerator[bool, None]:
        """Yield whether the pool is active, and again after each change. Never end.

        A reader that is slow gets the latest state, and nothing if it is the state that the reader has.
        """
        changed = asyncio.Event()
        self._watches.add(changed)
        sent: bool | None = None
        try:
            while True:
                if (active := bool(self._calls)) is not sent:
                    sent = active
                    yield active
                else:
                    changed.clear()
                    await changed.wait()
        finally:
            self._watches.discard(changed)

    def _notify(self) -> None:
        for changed in self._watches:
            changed.set()
