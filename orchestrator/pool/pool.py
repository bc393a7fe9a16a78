"""Any number of workers that do the same work, used as one. Calls are queued, assigned and retried here only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from random import Random
from typing import Generic, Self, TypeVar

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MotetError, OverloadedError, Reason, RetryableError, retry_delay
from motet.core.telemetry.families import pool_metrics
from motet.core.telemetry.stage import Stage
from motet.scheduling.fair_queue import TENANT_SHARE, FairQueue
from motet.scheduling.shared_timer import SharedTimer
from orchestrator.pool.attempt import Attempt, Receiver
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.hedges import Hedges
from orchestrator.pool.member import Member
from orchestrator.pool.pool_calls import PoolCalls
from orchestrator.pool.pool_gauges import PoolGauges
from orchestrator.pool.queued_call import QueuedCall, error_of_worker
from orchestrator.pool.ready.slot_share import SlotShare
from orchestrator.pool.replica import Replica, earliest
from orchestrator.pool.replicas import Replicas
from orchestrator.settings import OrchestratorSettings

Worker = TypeVar("Worker")
Item = TypeVar("Item")

_NOTICE = 0.05
"""Seconds after a failure in which the pool notices that the worker is away."""


class Pool(Generic[Worker]):
    """Sends each call to the replica that is predicted to finish it first, among all or among some random ones.

    A call waits in one fair queue, bounded in seconds of predicted work, until a replica has a free slot. Replicas that
    are unreachable, draining, stalled or ejected get no calls unless no other one serves or will probably return. A
    call that fails with a `RetryableError` is sent again, to another replica if there is one. A call whose worker is
    silent for too long runs at another replica, too, see `Hedges`.

    A pool is a context manager: it watches its replicas' loads until it is closed, and closes its members then. Without
    `loads`, it also works outside its context. Members may join and leave while calls run, see `set_members`. While
    there is none, calls wait for one, at most for the setting `return_timeout`, or up to their deadline with the
    setting `wait_for_replicas`. `name` is used in messages and metrics. `initial_estimate` is the duration of a unit of
    work in seconds, used until one was measured.
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
        self._name = name
        self._settings = settings
        self._estimate = DurationEstimate(initial_estimate)
        self.calls = PoolCalls(self._estimate)
        self._gauges = PoolGauges(name, lambda: self.waiting, self.calls)
        self._replicas = Replicas(
            name, members, settings, self._estimate, random or Random(), self._gauges, self._assign_waiting
        )
        self._hedges = Hedges(name, self._replicas, self._end)
        self._queue: FairQueue[QueuedCall] = FairQueue(settings.ageing)
        self._slot_share = SlotShare(self._replicas.ready)
        self._reserved = SharedTimer(settings.reservation_timeout, self.release)

    async def __aenter__(self) -> Self:
        self._gauges.open()
        self._replicas.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._replicas.close()
        self._gauges.close()

    async def set_members(self, addresses: Iterable[str], connect: Callable[[str], Member[Worker]]) -> None:
        """Make the replicas at these addresses the members of the pool, which must be open.

        `connect` returns the member at an address that is new. A member at another address gets no new calls, and is
        closed when its last call has ended. A member at the same address stays as it is. Do not call this concurrently.
        """
        await self._replicas.set_members(addresses, connect)
        self._hedges.watch()

    @property
    def available(self) -> bool:
        """True if a replica is reachable and does not drain."""
        return self._replicas.present

    @property
    def waiting(self) -> float:
        """Predicted seconds of work in the queue, reservations included."""
        return self._queue.cost

    def predicted_seconds(self, units: float) -> float:
        """Return the predicted duration of `units` units of work, in seconds."""
        return self._estimate.seconds(units)

    @property
    def outstanding(self) -> list[float]:
        """Predicted seconds of work of each replica, also of those that have left and still run calls."""
        return [replica.outstanding() for replica in self._replicas]

    def call(
        self, tenant: str, priority: int, units: float, *, patient: bool = False, reserve: bool = False
    ) -> QueuedCall:
        """Return a call of `units` units of work, to be started by `stream`.

        With `reserve`, the call gets a position in the queue, and counts as work of a replica, before it starts. It
        takes no slot. A full queue makes no reservation. `release` ends the reservation, and so does a timeout.
        """
        moment = now()
        call = QueuedCall(tenant, priority, units, self._estimate.seconds(units), moment, patient)
        if reserve and self._excess(call) <= 0:
            self._replicas.reserve(call, moment)
            self._queue.reserve(call)
            self._reserved.add(call)
            self.calls.add(call)
        return call

    def release(self, call: QueuedCall) -> None:
        """End the reservation of a call. Do nothing if the call has started, waits, or has no reservation."""
        if call.assignment is None and not call.attempts:
            self._dequeue(call)
            self.calls.discard(call)

    async def stream(
        self,
        call: QueuedCall,
        deadline: Deadline,
        start: Callable[[Worker], AsyncIterator[Item]],
        receiver: Receiver[Item],
    ) -> AsyncIterator[Item]:
        """Yield the items of a call that `receiver` returns. One task must read them all.

        Raises `OverloadedError` at once if the queue is full, and `DeadlineError` if no slot is free in time.
        """
        call.start, begun = start, now()
        with self.calls.counted(call), call.timer() as stages:
            attempt = await self._acquire(call, deadline)
            while True:
                stages.enter(Stage.CALL)
                attempt.add_log_fields(begun, self._gauges.ordinal(attempt.replica))
                receiver.restart()
                error: MotetError | None = None
                try:
                    items, reader = attempt.open(), asyncio.current_task()
                    while attempt.error is None:
                        attempt.reader = reader
                        item = await anext(items)
                        attempt.reader = None
                        attempt.count += 1
                        if (received := receiver.receive(item)) is not None:
                            call.yielded = True
                            yield received
                    error = attempt.error
                except StopAsyncIteration:
                    return
                except MotetError as failure:
                    error = error_of_worker(failure)
                except asyncio.CancelledError:
                    if not attempt.was_ended():
                        raise
                    error = attempt.error
                finally:
                    try:
                        await attempt.close()
                    finally:
                        self._end(attempt, error, receiver.complete)
                        if call.hedge is not None and not isinstance(error, RetryableError):
                            await self._hedges.stop(call)
                assert error is not None
                stages.enter(Stage.QUEUE)
                attempt = await self._hedges.take_over(attempt) or await self._next_attempt(attempt, error, deadline)
                self._gauges.started_again(attempt)

    async def _acquire(self, call: QueuedCall, deadline: Deadline) -> Attempt[Worker]:
        """Wait until a replica has a free slot, and start the call there."""
        moment = now()
        if self._replicas.missing(moment):
            self._dequeue(call)
            raise self._replicas.missing_error()
        self._slot_share.note(call.tenant, moment)
        if (free := self._replicas.free(moment)) and self._slot_share.permits(call.tenant, moment):
            return self._assign(call, free, moment)
        if call not in self._queue and not call.attempts:
            self._check_capacity(call)
        self._queue.add(call)
        assignment: asyncio.Future[Attempt[Worker]] = asyncio.get_running_loop().create_future()
        call.assignment = assignment
        try:
            async with asyncio.timeout_at(deadline.at):
                return await assignment
        except BaseException as error:
            self._dequeue(call)
            if assignment.done() and not assignment.cancelled() and assignment.exception() is None:
                self._end(assignment.result(), None)  # The call was cancelled after it had been assigned.
            if isinstance(error, TimeoutError):
                raise DeadlineError(
                    f"the deadline passed while the {self._name} workers were busy or away; allow more time or ask "
                    "for less"
                ) from None
            raise

    async def _next_attempt(self, attempt: Attempt[Worker], error: MotetError, deadline: Deadline) -> Attempt[Worker]:
        """Start a failed call once more. Raise `error` if the call must not be retried.

        A retry does not wait in the queue, except for a replica that is away and will probably return. A balanced
        replica gets the retry itself, unless it is overloaded. A patient call waits `retry_after` seconds for the only
        replica if it is overloaded. Other calls fail at once then, so that their callers learn of the overload early.
        """
        call, failed = attempt.call, attempt.replica
        if not call.fail(failed, error, balanced=failed.balanced):
            if error.reason is Reason.WORKER_UNAVAILABLE and not self.available:
                raise self._replicas.missing_error(error.message) from error
            raise error
        again = failed.balanced and not isinstance(error, OverloadedError)
        others = self._replicas.others(None if again else failed, now())
        if not others and isinstance(error, OverloadedError) and not failed.removed:
            remaining = deadline.remaining()
            if not call.patient or (remaining is not None and remaining <= error.retry_after):
                raise error
            await asyncio.sleep(error.retry_after)
            others = [] if failed.removed else [failed]
        if not others:
            if failed.watched:
                await asyncio.sleep(_NOTICE)
            if call.yielded and not (failed.returning(now()) or self._replicas.expected(now())):
                raise error
            return await self._acquire(call, deadline)
        return earliest(others, call).start(call, now())

    def _assign(self, call: QueuedCall, free: list[Replica[Worker]], moment: float) -> Attempt[Worker]:
        """Take a call out of the queue and start it on one of the free replicas."""
        self._dequeue(call)
        replica = earliest(free, call)
        self._queue.charge(call, moment)
        self._hedges.watch()
        return replica.start(call, moment)

    def _assign_waiting(self) -> None:
        """Assign waiting calls to free replicas, in the queue's order."""
        moment, permits = now(), self._slot_share.permits
        while self._queue and (free := self._replicas.free(moment)) and (call := self._queue.first(moment, permits)):
            if not call.ready:
                self._queue.remove(call)  # The call was cancelled, and its task has not run since.
                continue
            assert call.assignment is not None
            call.assignment.set_result(self._assign(call, free, moment))
        if self._replicas.missing(moment):
            for call in self._queue:
                if call.ready and call.assignment is not None:
                    call.assignment.set_exception(self._replicas.missing_error())

    def _dequeue(self, call: QueuedCall) -> None:
        """Remove a call from the queue and from the reservations."""
        self._reserved.discard(call)
        self._queue.remove(call)
        call.end_reservation()

    def _end(self, attempt: Attempt[Worker], error: MotetError | None, complete: bool = False) -> None:
        """Release the slot of an attempt."""
        replica = attempt.replica
        if complete:
            self._hedges.learn(attempt)
        self._gauges.ended(attempt, error, complete)
        if replica.end(attempt, now(), error, complete):
            self._gauges.ejected(replica)
            assert replica.circuit_breaker.until is not None
            asyncio.get_running_loop().call_at(replica.circuit_breaker.until, self._assign_waiting)
        self._replicas.release_if_left(replica)
        self._assign_waiting()

    def _excess(self, call: QueuedCall) -> float:
        """Return the seconds of work by which a call exceeds the queue's capacity; 0 or less if the call fits."""
        if not self._queue:
            return 0.0
        free = self._settings.queue_seconds * self._replicas.slots() - self._queue.cost
        return call.cost + max(-free, self._queue.cost_of(call.tenant) - TENANT_SHARE * free)

    def _check_capacity(self, call: QueuedCall) -> None:
        excess = self._excess(call)
        if excess <= 0:
            return
        pool_metrics.POOL_REFUSED.labels(self._name).inc()
        retry_after = retry_delay(excess / self._replicas.slots())
        if not self.available:
            raise self._replicas.missing_error(retry_after=retry_after)
        metadata = {"queued_seconds": f"{self.waiting:.1f}", "retry_after": f"{retry_after:.1f}"}
        message = f"{self.waiting:.0f} s of work wait for the {self._name} workers; try again in {retry_after:.1f} s"
        raise OverloadedError(message, metadata=metadata, retry_after=retry_after)
