"""A semaphore whose waiters are served in the order of a `FairQueue`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from motet.core.clock import now
from motet.scheduling.fair_queue import FairQueue


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    tenant: str
    priority: int
    since: float
    acquired: asyncio.Future[None]
    cost: float


class FairSemaphore:
    """A semaphore of `slots` slots for one event loop. Waiters are served by priority and fairly between tenants."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: FairQueue[_Waiter] = FairQueue()

    @asynccontextmanager
    async def slot(self, tenant: str = "", priority: int = 0) -> AsyncIterator[None]:
        """Hold one slot inside the context. Wait for it first if no slot is free."""
        await self.acquire(tenant, priority)
        try:
            yield
        finally:
            self.release()

    def waiting(self, tenant: str) -> float:
        """Return the total cost of a tenant's waiters."""
        return self._queue.cost_of(tenant)

    async def acquire(self, tenant: str = "", priority: int = 0, cost: float = 1.0) -> None:
        """Take a slot, until `release`. Wait for it first if no slot is free. `cost` is charged to the tenant."""
        waiter = _Waiter(tenant, priority, now(), asyncio.get_running_loop().create_future(), cost)
        if self._free:
            self._free -= 1
            self._queue.charge(waiter, waiter.since)
            return
        self._queue.add(waiter)
        try:
            await waiter.acquired
        except asyncio.CancelledError:
            self._queue.remove(waiter)
            if not waiter.acquired.cancelled():
                self.release()  # The slot was acquired at the moment of the cancellation.
            raise

    def release(self) -> None:
        """Give a slot to the first waiter, or free it."""
        time = now()
        while (waiter := self._queue.first(time)) is not None:
            self._queue.remove(waiter)
            if not waiter.acquired.done():
                self._queue.charge(waiter, time)
                waiter.acquired.set_result(None)
                return
            # The waiter was cancelled, and its task has not run since.
        self._free += 1
