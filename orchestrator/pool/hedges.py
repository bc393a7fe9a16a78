"""Hedges: a call whose worker is silent for too long runs at another replica, too, and the attempt that leads wins."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from motet.core.clock import now
from motet.core.errors import MotetError, Reason, RetryableError
from motet.core.telemetry.families import pool_metrics
from motet.scheduling.moving_average import MovingAverage
from orchestrator.pool.attempt import Attempt
from orchestrator.pool.queued_call import QueuedCall, error_of_worker
from orchestrator.pool.replica import Replica, earliest
from orchestrator.pool.replicas import Replicas

Worker = TypeVar("Worker")

_INTERVAL = 0.05
"""Seconds between two measurements of the silence of all attempts."""

_PATIENCE, _MIN_PATIENCE = 4.0, 0.25
"""Silence after which a call is hedged: this multiple of the predicted longest silence, and at least these seconds."""

_SHARE, _BURST = 0.1, 16.0
"""Hedges per complete call in the long run, and hedges that may start at once."""

logger = logging.getLogger(__name__)


class Hedges(Generic[Worker]):
    """Starts and ends the hedges of a pool's calls. A replica that has left may be hedged, but gets no hedges.

    A worker is silent while a reader waits for its next item. The longest silence of complete calls predicts that of
    later calls. One timer serves all calls, and it runs only while calls run. `end` releases the slot of an attempt,
    which ended with an error or with None.
    """

    def __init__(
        self,
        name: str,
        replicas: Replicas[Worker],
        end: Callable[[Attempt[Worker], MotetError | None], None],
    ) -> None:
        self._name = name
        self._replicas = replicas
        self._end = end
        self._silence = MovingAverage()
        self._budget = _BURST
        self._timer: asyncio.TimerHandle | None = None
        self._measured = 0.0

    def watch(self) -> None:
        """Start the timer, if there is a second replica. The timer ends with the last attempt."""
        if self._possible() and self._timer is None:
            self._measured = now()
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._measure)

    def learn(self, attempt: Attempt[Worker]) -> None:
        """Learn from an attempt that completed its call."""
        if not self._possible():
            return
        silence = max(attempt.silence, attempt.longest_silence)
        self._silence.add(silence)
        attempt.replica.silence.add(silence)
        self._budget = min(_BURST, self._budget + _SHARE)

    async def take_over(self, failed: Attempt[Worker]) -> Attempt[Worker] | None:
        """Return the hedge of a failed attempt once the hedge has an item, or None if there is no hedge that works.

        The hedge is then an attempt like any other, and may have a hedge of its own.
        """
        failed.count = -1  # The first item puts the hedge ahead.
        while (hedge := failed.call.hedge) is not None:
            failed.call.hedge = None
            try:
                await asyncio.wait({hedge.reading_ahead})
            except asyncio.CancelledError:
                await self._abandon(hedge)
                raise
            if hedge.reading_ahead.result():
                pool_metrics.POOL_HEDGES.labels(self._name, "won").inc()
                return hedge  # type: ignore[no-any-return]
        return None

    async def stop(self, call: QueuedCall) -> None:
        """Stop the hedge of a call, if there is one."""
        if (hedge := call.hedge) is not None:
            call.hedge = None
            await self._abandon(hedge)

    async def _abandon(self, hedge: Attempt[Worker]) -> None:
        pool_metrics.POOL_HEDGES.labels(self._name, "lost").inc()
        reading = hedge.reading_ahead
        assert reading is not None
        reading.cancel()
        try:
            await asyncio.wait({reading})
            await hedge.close()
        finally:
            self._release(hedge, None)

    def _possible(self) -> bool:
        """Return whether there is a second replica."""
        return len(self._replicas) > 1

    def _measure(self) -> None:
        """Measure the silence of all attempts, and hedge those that are silent for too long."""
        # A replica that has left still runs calls.
        moment, attempts = now(), [attempt for replica in self._replicas for attempt in replica.attempts]
        # If this process itself stood still, its workers were not silent.
        seconds, self._measured = min(moment - self._measured, 2 * _INTERVAL), moment
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._measure) if attempts else None
        for attempt in attempts:
            if attempt.count != attempt.counted or attempt.reader is None:
                attempt.longest_silence = max(attempt.longest_silence, attempt.silence)
                attempt.replica.stalled = attempt.replica.stalled and attempt.count == attempt.counted
                attempt.counted, attempt.silence = attempt.count, 0.0
                continue
            attempt.silence += seconds
            if attempt.silence > self._patience(attempt.replica):
                self._hedge(attempt)

    def _patience(self, replica: Replica[Worker]) -> float:
        """Return the silence of a replica after which its call is hedged, in seconds."""
        if self._silence.value is None:
            return math.inf
        return max(_MIN_PATIENCE, _PATIENCE * max(self._silence.value, replica.silence.value or 0.0))

    def _hedge(self, attempt: Attempt[Worker]) -> None:
        """Start a hedge, unless the call has one, the budget is spent, or there is no other replica."""
        call, moment = attempt.call, now()
        others = self._replicas.ready.others(attempt.replica, moment)
        if call.hedge is not None or self._budget < 1 or not others:
            return
        self._budget -= 1
        attempt.replica.stalled = attempt.replica.watched
        replica = earliest(others, call)
        call.hedge = hedge = replica.start(call, moment)
        fields = {"replica": attempt.replica.name, "seconds": round(attempt.silence, 3), "hedge": replica.name}
        # This is the timer's context, not the caller's.
        call.context.run(logger.info, "a silent replica's call is hedged", extra=fields)
        hedge.reading_ahead = asyncio.create_task(self._read_ahead(hedge, attempt), context=call.context)

    async def _read_ahead(self, hedge: Attempt[Worker], other: Attempt[Worker]) -> bool:
        """Read a hedge until it is ahead of the other attempt, and end that one. Return False if the hedge fails."""
        read: list[Any] = []
        try:
            items, reader = hedge.open(), asyncio.current_task()
            while hedge.error is None and len(read) <= other.count:
                hedge.reader = reader
                read.append(await anext(items))
                hedge.reader = None
                hedge.count += 1
        except StopAsyncIteration:
            pass  # The hedge has all items.
        except asyncio.CancelledError:
            if not hedge.was_ended():
                raise
            return await self._fail(hedge, hedge.error)
        except MotetError as error:
            return await self._fail(hedge, error_of_worker(error))
        except Exception:
            logger.exception("a worker of the pool %s failed unexpectedly", self._name)
            return await self._fail(hedge, None)
        if hedge.error is not None:
            return await self._fail(hedge, hedge.error)
        hedge.put_back(read)
        # The silence of a slow replica counts in its prediction, so the replica is not hedged for ever.
        other.replica.silence.add(other.silence)
        other.end(RetryableError(f"a {self._name} worker made no progress; try again", Reason.WORKER_LOST))
        return True

    async def _fail(self, hedge: Attempt[Worker], error: MotetError | None) -> bool:
        """End a hedge that failed, and return False."""
        if hedge.call.hedge is hedge:
            hedge.call.hedge = None
        try:
            await hedge.close()
        finally:
            self._release(hedge, error)
        return False

    def _release(self, hedge: Attempt[Worker], error: MotetError | None) -> None:
        if hedge in hedge.replica.attempts:  # A hedge that fails may be abandoned at the same moment.
            self._end(hedge, error)
