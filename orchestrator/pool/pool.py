"""Any number of workers that do the same work, used as one. Calls are queued, assigned and retried here only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, Self, TypeVar

from motet.core import metrics
from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MotetError, OverloadedError, RetryableError, retry_delay
from motet.scheduling.fair_queue import FairQueue
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.queued_call import QueuedCall
from orchestrator.pool.replica import Loads, Replica
from orchestrator.settings import OrchestratorSettings

Worker = TypeVar("Worker")
Item = TypeVar("Item")

_MAX_ATTEMPTS = 2
"""Maximum number of times a call is sent to a worker."""

_TENANT_SHARE = 4.0
"""Maximum cost of a tenant's waiting calls, per unit of free space in the queue: alone, a tenant fills four fifths."""


@dataclass(frozen=True, slots=True)
class Member(Generic[Worker]):
    """A worker of a pool. `loads` opens the stream of its load; None is for a worker of this process."""

    worker: Worker
    loads: Loads | None = None


class Pool(Generic[Worker]):
    """Sends each call to the replica that is predicted to finish it first.

    A call waits in one fair queue, bounded in seconds of predicted work, until a replica has a free slot. Replicas that
    are unreachable, draining or ejected get no calls unless there is no other replica. A call that fails with a
    `RetryableError` is sent once more, to another replica if there is one.

    A pool is a context manager: it watches its replicas' loads until it is closed. A pool whose members all have no
    `loads` also works outside its context. `name` is used in messages and metrics. `initial_estimate` is the duration
    of a unit of work in seconds, used until one was measured.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member[Worker]],
        settings: OrchestratorSettings,
        *,
        initial_estimate: float = 1.0,
        random: Random | None = None,
    ) -> None:
        random = random or Random()
        self._name = name
        self._settings = settings
        self._estimate = DurationEstimate(initial_estimate)
        self._replicas = [
            Replica(
                member.worker,
                member.loads,
                self._estimate,
                CircuitBreaker(settings.eject_after, settings.eject_for, random),
                random,
            )
            for member in members
        ]
        self._queue: FairQueue[QueuedCall] = FairQueue(settings.ageing)
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        metrics.POOL_QUEUE_SECONDS.labels(self._name).set_function(lambda: self.waiting)
        for number, replica in enumerate(self._replicas):
            metrics.POOL_OUTSTANDING_SECONDS.labels(self._name, str(number)).set_function(replica.outstanding)
        self._watches = [asyncio.create_task(replica.watch(self._assign_waiting)) for replica in self._replicas]
        return self

    async def __aexit__(self, *exception: object) -> None:
        metrics.POOL_QUEUE_SECONDS.remove(self._name)
        for number in range(len(self._replicas)):
            metrics.POOL_OUTSTANDING_SECONDS.remove(self._name, str(number))
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    @property
    def waiting(self) -> float:
        """Predicted seconds of work in the queue, reservations included."""
        return self._queue.cost

    @property
    def outstanding(self) -> list[float]:
        """Predicted seconds of work of each replica."""
        return [replica.outstanding() for replica in self._replicas]

    def call(
        self, tenant: str, priority: int, units: float, *, repeatable: bool = False, reserve: bool = False
    ) -> QueuedCall:
        """Return a call of `units` units of work, to be started by `stream`.

        With `reserve`, the call gets a position in the queue, and counts as work of a replica, before it starts. It
        takes no slot. A full queue makes no reservation. `release` ends the reservation, and so does a timeout.
        """
        call = QueuedCall(tenant, priority, units, self._estimate.seconds(units), now(), repeatable)
        if reserve and self._excess(call) <= 0:
            self._choose(self._usable(), call).reserved[call] = None
            self._queue.add(call)
            call.expiry = asyncio.get_running_loop().call_later(self._settings.reservation_timeout, self.release, call)
        return call

    def release(self, call: QueuedCall) -> None:
        """End the reservation of a call. Do nothing if the call has started, waits, or has no reservation."""
        if call.assignment is None and call.started is None:
            self._dequeue(call)

    async def stream(
        self,
        call: QueuedCall,
        deadline: Deadline,
        start: Callable[[Worker], AsyncIterator[Item]],
        is_last: Callable[[Item], bool],
    ) -> AsyncIterator[Item]:
        """Yield the items of a call. `is_last` returns whether an item completes the call.

        Raises `OverloadedError` at once if the queue is full, and `DeadlineError` if no slot is free in time.
        """
        replica = await self._acquire(call, deadline)
        while True:
            complete, error = False, None
            try:
                async with closing(start(replica.worker)) as items:
                    async for item in items:
                        complete = is_last(item)
                        call.yielded = True
                        yield item
                return
            except MotetError as failure:
                error = failure
            finally:
                self._end(call, replica, error, complete)
            assert error is not None
            replica = await self._next_replica(call, replica, error, deadline)

    async def _acquire(self, call: QueuedCall, deadline: Deadline) -> Replica[Worker]:
        """Wait until a replica has a free slot, start the call there, and return the replica."""
        if free := self._free():
            return self._assign(call, free)
        if call not in self._queue:
            self._check_capacity(call)
            self._queue.add(call)
        call.assignment = assignment = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(deadline.at):
                replica: Replica[Worker] = await assignment
                return replica
        except BaseException as error:
            if call.started is None:
                self._dequeue(call)
            else:  # It was cancelled after it had been assigned.
                self._end(call, assignment.result(), None, complete=False)
            if isinstance(error, TimeoutError):
                raise DeadlineError(
                    f"the deadline passed while the {self._name} workers were busy; allow more time or ask for less"
                ) from None
            raise

    async def _next_replica(
        self, call: QueuedCall, failed: Replica[Worker], error: MotetError, deadline: Deadline
    ) -> Replica[Worker]:
        """Start a failed call once more and return its replica. Raise `error` if the call must not be retried.

        A retry does not wait in the queue. After its first item, a call is retried only if it is repeatable and there
        is another replica. If there is only one replica and it is overloaded, a repeatable call is retried after
        `retry_after` seconds. Other calls fail at once then, so that their callers learn of the overload early.
        """
        if not isinstance(error, RetryableError) or call.attempts == _MAX_ATTEMPTS:
            raise error
        if call.yielded and not call.repeatable:
            raise error
        others = [replica for replica in self._usable() if replica is not failed]
        if not others:
            if call.yielded:
                raise error
            others = [failed]
            if isinstance(error, OverloadedError):
                remaining = deadline.remaining()
                if not call.repeatable or (remaining is not None and remaining <= error.retry_after):
                    raise error
                await asyncio.sleep(error.retry_after)
        replica = self._choose([replica for replica in others if replica.free] or others, call)
        replica.start(call, now())
        return replica

    def _assign(self, call: QueuedCall, free: list[Replica[Worker]]) -> Replica[Worker]:
        """Take a call out of the queue and start it on one of the free replicas."""
        self._dequeue(call)
        replica, moment = self._choose(free, call), now()
        self._queue.charge(call, moment)
        replica.start(call, moment)
        return replica

    def _assign_waiting(self) -> None:
        """Assign waiting calls to free replicas, in the queue's order."""
        while self._queue and (free := self._free()) and (call := self._queue.first(now())):
            assert call.assignment is not None
            call.assignment.set_result(self._assign(call, free))

    def _dequeue(self, call: QueuedCall) -> None:
        """Remove a call from the queue and from the reservations."""
        if call.expiry is not None:
            call.expiry.cancel()
        self._queue.remove(call)
        for replica in self._replicas:
            replica.reserved.pop(call, None)

    def _end(self, call: QueuedCall, replica: Replica[Worker], error: MotetError | None, complete: bool) -> None:
        """Release the slot of a call."""
        if replica.end(call, now(), error, complete):
            metrics.POOL_EJECTIONS.labels(self._name, str(self._replicas.index(replica))).inc()
            assert replica.circuit_breaker.until is not None
            asyncio.get_running_loop().call_at(replica.circuit_breaker.until, self._assign_waiting)
        self._assign_waiting()

    def _usable(self) -> list[Replica[Worker]]:
        """Return the usable replicas. If there are none, return replicas whose errors will explain why."""
        moment = now()
        return (
            [replica for replica in self._replicas if replica.usable(moment)]
            or [replica for replica in self._replicas if not replica.draining]
            or self._replicas
        )

    def _free(self) -> list[Replica[Worker]]:
        return [replica for replica in self._usable() if replica.free]

    def _choose(self, candidates: list[Replica[Worker]], call: QueuedCall) -> Replica[Worker]:
        """Return the candidate that is predicted to finish the call first."""
        if len(candidates) == 1:
            return candidates[0]

        def key(replica: Replica[Worker]) -> tuple[float, int]:
            return replica.outstanding(call.units), len(replica.calls)

        return min(candidates, key=key)

    def _excess(self, call: QueuedCall) -> float:
        """Return the seconds of work by which a call exceeds the queue's capacity; 0 or less if the call fits."""
        if not self._queue:
            return 0.0
        free = self._settings.queue_seconds * self._slots() - self._queue.cost
        return call.cost + max(-free, self._queue.cost_of(call.tenant) - _TENANT_SHARE * free)

    def _check_capacity(self, call: QueuedCall) -> None:
        excess = self._excess(call)
        if excess <= 0:
            return
        metrics.POOL_REFUSED.labels(self._name).inc()
        retry_after = retry_delay(excess / self._slots())
        raise OverloadedError(
            f"{self._queue.cost:.0f} s of work wait for the {self._name} workers; try again in {retry_after:.1f} s",
            metadata={"queued_seconds": f"{self._queue.cost:.1f}", "retry_after": f"{retry_after:.1f}"},
            retry_after=retry_after,
        )

    def _slots(self) -> int:
        """Return the number of slots of the usable replicas, at least 1."""
        return max(1, sum(replica.slots for replica in self._usable()))
