"""One of several workers that do the same work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Generic, TypeVar

from motet.core.closing import closing
from motet.core.errors import MotetError, OverloadedError, Reason, RetryableError
from motet.core.workers import REPORT_INTERVAL, Load
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.queued_call import QueuedCall

Worker = TypeVar("Worker")
Loads = Callable[[], AsyncIterator[Load]]
"""Opens the stream of a worker's load. It ends, or raises `MotetError`, when the worker cannot be reached."""

_MIN_BACKOFF, _MAX_BACKOFF = 0.1, 2.0
"""Minimum and maximum seconds between two attempts to watch a worker that cannot be reached."""

_LOAD_TIMEOUT = 3 * REPORT_INTERVAL
"""Seconds without a load report after which a worker counts as unreachable."""


class Replica(Generic[Worker]):
    """A worker, the calls it runs, and whether it should get more calls.

    Without `loads`, the worker is in this process: always reachable, and without a limit on its calls.
    """

    def __init__(
        self,
        worker: Worker,
        loads: Loads | None,
        estimate: DurationEstimate,
        circuit_breaker: CircuitBreaker,
        random: Random,
    ) -> None:
        self.worker = worker
        self.circuit_breaker = circuit_breaker
        self.calls: dict[QueuedCall, None] = {}
        """The calls of this pool that the worker runs."""
        self.reserved: dict[QueuedCall, None] = {}
        """Calls that will probably come. They take no slot."""
        self._loads = loads
        self._estimate = DurationEstimate(initial=estimate)
        self._random = random
        self._reachable = loads is None
        self._load = Load()
        self._foreign_seconds = 0.0

    @property
    def slots(self) -> int:
        """Maximum number of calls that the worker runs at a time; 0 for no limit."""
        return self._load.slots

    @property
    def free(self) -> bool:
        """True if the worker has a free slot, as far as this pool knows."""
        return not self.slots or len(self.calls) < self.slots

    @property
    def draining(self) -> bool:
        """True if the worker refuses calls because it is about to stop."""
        return self._load.draining

    def usable(self, now: float) -> bool:
        """Return whether the worker is reachable, not draining and not ejected."""
        return self._reachable and not self._load.draining and self.circuit_breaker.allows(now)

    def outstanding(self, units: float = 0.0) -> float:
        """Return the predicted seconds until the worker has finished all its work and `units` more units."""
        # Copies, because metrics are read from another thread.
        own = sum(max(0.0, call.units - call.done) for call in tuple(self.calls))
        reserved = sum(call.units for call in tuple(self.reserved))
        return self._foreign_seconds + self._estimate.seconds(own + reserved + units)

    def start(self, call: QueuedCall, now: float) -> None:
        """Assign a call to the worker."""
        call.started, call.done = now, 0.0
        call.attempts += 1
        self.calls[call] = None
        self.circuit_breaker.start()

    def end(self, call: QueuedCall, now: float, error: MotetError | None, complete: bool) -> bool:
        """Record the end of a call and return whether it ejects the replica.

        A call without an error that is not `complete` was stopped by its caller.
        """
        del self.calls[call]
        if complete and call.started is not None:
            self._estimate.learn(now - call.started, call.units)
            self.circuit_breaker.succeed()
        elif isinstance(error, RetryableError) and not _is_refusal(error):
            return self.circuit_breaker.fail(now)
        else:
            self.circuit_breaker.ignore()
        return False

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Watch the worker's load until cancelled, and call `on_change` after each change.

        The worker counts as unreachable while its stream cannot be opened, and after `_LOAD_TIMEOUT` seconds without a
        report, which is how a frozen process looks.
        """
        if self._loads is None:
            return
        backoff = _MIN_BACKOFF
        while True:
            try:
                async with closing(self._loads()) as loads:
                    while (load := await _next_load(loads)) is not None:
                        self._receive(load)
                        backoff = _MIN_BACKOFF
                        on_change()
            except (MotetError, TimeoutError):
                pass  # The replica becomes unreachable below, and calls sent to it report the error.
            self._reachable = False
            on_change()
            await asyncio.sleep(backoff * self._random.uniform(0.5, 1.0))
            backoff = min(_MAX_BACKOFF, backoff * 2)

    def _receive(self, load: Load) -> None:
        self._reachable, self._load = True, load
        calls = load.running + load.queued
        # The worker's report includes this pool's own calls, and the pool knows the progress of those better.
        self._foreign_seconds = load.seconds * max(0, calls - len(self.calls)) / calls if calls else 0.0


async def _next_load(loads: AsyncIterator[Load]) -> Load | None:
    """Return the next load, or None at the end of the stream. Raises `TimeoutError` after `_LOAD_TIMEOUT` seconds."""
    async with asyncio.timeout(_LOAD_TIMEOUT):
        return await anext(loads, None)


def _is_refusal(error: RetryableError) -> bool:
    """Return whether a healthy worker may raise this error."""
    return isinstance(error, OverloadedError) or error.reason is Reason.DRAINING
