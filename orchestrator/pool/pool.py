"""Any number of workers that do the same, as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, Self, TypeVar

from motet.core import metrics
from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MotetError, OverloadedError, RetryableError
from motet.scheduling.fair_queue import FairQueue
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.queued_call import QueuedCall
from orchestrator.pool.replica import Loads, Replica
from orchestrator.settings import OrchestratorSettings

Worker = TypeVar("Worker")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

_SHARE = 4.0
"""A tenant's waiting work may be so many times what the queue still has room for: alone it fills four fifths."""

_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 60.0
"""Seconds that a refused caller is told to wait, at least and at most."""


@dataclass(frozen=True, slots=True)
class Member(Generic[Worker]):
    """A worker for a pool. `loads` begins to listen to its load; None for one of this process."""

    worker: Worker
    loads: Loads | None = None


class Pool(Generic[Worker]):
    """Gives each call to the replica that will have done it first, so far as can be predicted.

    A call is bound to a replica when one is free, not before; until then it waits in one fair queue, bounded in
    seconds of predicted work. A replica that is not heard of, drains, or failed several times in a row is passed over,
    while there is another. A call that fails in a way that may pass is tried once more, elsewhere. Use it as a context:
    within, it listens to its replicas. `name` is for messages and metrics, from a closed set; `guess` is how many
    seconds a unit of work takes until that is known.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member[Worker]],
        settings: OrchestratorSettings,
        *,
        guess: float = 1.0,
        random: Random | None = None,
    ) -> None:
        random = random or Random()
        self._name = name
        self._settings = settings
        self._pace = DurationEstimate(guess)
        self._replicas = [
            Replica(
                member.worker,
                member.loads,
                self._pace,
                CircuitBreaker(settings.eject_after, settings.eject_for, random),
                random,
            )
            for member in members
        ]
        self._queue: FairQueue[QueuedCall] = FairQueue(settings.ageing)
        self._listening: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        metrics.POOL_QUEUE_SECONDS.labels(self._name).set_function(lambda: self.waiting)
        for number, replica in enumerate(self._replicas):
            metrics.POOL_OUTSTANDING_SECONDS.labels(self._name, str(number)).set_function(replica.outstanding)
        self._listening = [asyncio.create_task(replica.listen(self._changed)) for replica in self._replicas]
        return self

    async def __aexit__(self, *exception: object) -> None:
        metrics.POOL_QUEUE_SECONDS.remove(self._name)
        for number in range(len(self._replicas)):
            metrics.POOL_OUTSTANDING_SECONDS.remove(self._name, str(number))
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    @property
    def waiting(self) -> float:
        """Predicted seconds of work that waits, or is expected."""
        return self._queue.cost

    @property
    def outstanding(self) -> list[float]:
        """Predicted seconds of work that each replica has to do."""
        return [replica.outstanding() for replica in self._replicas]

    def ticket(self, tenant: str, priority: int, units: float) -> QueuedCall:
        """What a call of so many units of work comes in with."""
        return QueuedCall(tenant, priority, units, self._pace.seconds(units), now())

    def reserve(self, ticket: QueuedCall) -> None:
        """Keep a place for a call that will probably come: in the queue, and in what its replica is expected to do.

        Nothing is held up for it. The place is given back by `release`, or by itself after a while.
        """
        if self._lacking(ticket) > 0:
            return
        self._choose(self._usable(), ticket).expected[ticket] = None
        self._queue.add(ticket)
        ticket.lapse = asyncio.get_running_loop().call_later(self._settings.reservation, self.release, ticket)

    def release(self, ticket: QueuedCall) -> None:
        """The place of a call that did not come; nothing happens if it came."""
        if ticket.turn is None and ticket.started is None:
            self._arrive(ticket)

    async def stream(
        self,
        ticket: QueuedCall,
        deadline: Deadline,
        call: Callable[[Worker], AsyncIterator[Item]],
        last: Callable[[Item], bool],
        repeatable: bool,
    ) -> AsyncIterator[Item]:
        """The stream of a call; `last` says which item is its last.

        It is tried again elsewhere while nothing was heard of it, or at any time where it is `repeatable`: then items
        come again. Raises `OverloadedError` at once where too much waits, `DeadlineError` when its turn does not come.
        """
        replica = await self._enter(ticket, deadline)
        again = True
        while True:
            whole, error = False, None
            try:
                async with closing(call(replica.worker)) as items:
                    async for item in items:
                        whole = last(item)
                        again = again and repeatable
                        yield item
                return
            except MotetError as failure:
                error = failure
            finally:
                self._leave(ticket, replica, error, whole)
            replica, again = self._elsewhere(ticket, replica, error, again), False

    async def ask(self, ticket: QueuedCall, deadline: Deadline, call: Callable[[Worker], Awaitable[Answer]]) -> Answer:
        """The answer of a call. It is tried again elsewhere. Raises as `stream` does."""
        replica = await self._enter(ticket, deadline)
        again = True
        while True:
            whole, error = False, None
            try:
                answer = await call(replica.worker)
                whole = True
                return answer
            except MotetError as failure:
                error = failure
            finally:
                self._leave(ticket, replica, error, whole)
            replica, again = self._elsewhere(ticket, replica, error, again), False

    async def _enter(self, ticket: QueuedCall, deadline: Deadline) -> Replica[Worker]:
        """The replica that works on a call from now on."""
        free = self._free()
        if not free:
            return await self._wait(ticket, deadline)
        self._arrive(ticket)
        return self._bind(ticket, self._choose(free, ticket))

    async def _wait(self, ticket: QueuedCall, deadline: Deadline) -> Replica[Worker]:
        if ticket not in self._queue:
            self._check_room(ticket)
            self._queue.add(ticket)
        ticket.turn = turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(deadline.at):
                await turn
        except BaseException as error:
            self._withdraw(ticket)
            if isinstance(error, TimeoutError):
                raise DeadlineError(
                    f"the deadline passed while the {self._name} workers were busy; allow more time or ask for less"
                ) from None
            raise
        return self._holder(ticket)

    def _withdraw(self, ticket: QueuedCall) -> None:
        """A call gives up waiting, perhaps in the moment in which its turn has come."""
        if ticket.started is None:
            self._arrive(ticket)
        else:
            self._leave(ticket, self._holder(ticket), None, whole=False)

    def _holder(self, ticket: QueuedCall) -> Replica[Worker]:
        return next(replica for replica in self._replicas if ticket in replica.calls)

    def _bind(self, ticket: QueuedCall, replica: Replica[Worker]) -> Replica[Worker]:
        moment = now()
        self._queue.charge(ticket, moment)
        replica.begin(ticket, moment)
        return replica

    def _arrive(self, ticket: QueuedCall) -> None:
        """A call waits no more and is expected no more."""
        if ticket.lapse is not None:
            ticket.lapse.cancel()
        self._queue.remove(ticket)
        for replica in self._replicas:
            replica.expected.pop(ticket, None)

    def _leave(self, ticket: QueuedCall, replica: Replica[Worker], error: MotetError | None, whole: bool) -> None:
        if replica.end(ticket, now(), error, whole):
            number = self._replicas.index(replica)
            metrics.POOL_EJECTIONS.labels(self._name, str(number)).inc()
            assert replica.breaker.until is not None
            asyncio.get_running_loop().call_at(replica.breaker.until, self._changed)
        self._changed()

    def _elsewhere(
        self, ticket: QueuedCall, failed: Replica[Worker], error: MotetError | None, again: bool
    ) -> Replica[Worker]:
        """Another replica for a call that failed, which has waited its turn already. Raises its error where none is."""
        assert error is not None
        others = [replica for replica in self._usable() if replica is not failed]
        if not (again and others and isinstance(error, RetryableError)):
            raise error
        chosen = self._choose([replica for replica in others if replica.free] or others, ticket)
        chosen.begin(ticket, now())
        return chosen

    def _changed(self) -> None:
        """Somebody may have his turn now."""
        while self._queue and (free := self._free()) and (ticket := self._queue.first(now())):
            assert ticket.turn is not None
            self._arrive(ticket)
            self._bind(ticket, self._choose(free, ticket))
            ticket.turn.set_result(None)

    def _usable(self) -> list[Replica[Worker]]:
        """Where calls may go. If all look unfit, to those nevertheless: they will say what is wrong with them."""
        moment = now()
        return (
            [replica for replica in self._replicas if replica.usable(moment)]
            or [replica for replica in self._replicas if not replica.draining]
            or self._replicas
        )

    def _free(self) -> list[Replica[Worker]]:
        return [replica for replica in self._usable() if replica.free]

    def _choose(self, among: list[Replica[Worker]], ticket: QueuedCall) -> Replica[Worker]:
        if len(among) == 1:
            return among[0]

        def seconds(replica: Replica[Worker]) -> tuple[float, int]:
            return replica.outstanding(0.0 if ticket in replica.expected else ticket.units), len(replica.calls)

        return min(among, key=seconds)

    def _lacking(self, ticket: QueuedCall) -> float:
        """Seconds of work by which a call is too much for the queue; 0 or less where there is room."""
        if not self._queue:
            return 0.0
        room = self._settings.queue_seconds * self._breadth() - self._queue.cost
        return ticket.cost + max(-room, self._queue.cost_of(ticket.tenant) - _SHARE * room)

    def _check_room(self, ticket: QueuedCall) -> None:
        lacking = self._lacking(ticket)
        if lacking <= 0:
            return
        metrics.POOL_REFUSED.labels(self._name).inc()
        wait = min(_LONGEST_WAIT, max(_SHORTEST_WAIT, lacking / self._breadth()))
        raise OverloadedError(
            f"{self._queue.cost:.0f} s of work wait for the {self._name} workers; try again in {wait:.1f} s",
            metadata={"queued_seconds": f"{self._queue.cost:.1f}", "retry_after": f"{wait:.1f}"},
            retry_after=wait,
        )

    def _breadth(self) -> int:
        """How many calls are worked on at a time."""
        return max(1, sum(replica.slots for replica in self._usable()))
