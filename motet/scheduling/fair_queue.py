"""The project's queue for waiting work: priorities with ageing, and fairness between tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Generic, Protocol, TypeVar

from motet.core.request import PRIORITIES

AGEING = 10.0
"""Waiting time that raises a priority by one, in seconds. The default of `FairQueue`."""

MAX_IDLE_TENANTS = 1024
"""Maximum number of tenants without waiting items whose received service is stored."""

TENANT_SHARE = 4.0
"""Maximum share of one tenant, per unit that is free: alone, a tenant fills four fifths and leaves room for others."""


class Queued(Protocol):
    """An item of a `FairQueue`. Items are compared by identity and must be hashable."""

    @property
    def tenant(self) -> str:
        """The tenant that is charged for the item."""
        ...

    @property
    def priority(self) -> int:
        """The item's priority, one of `PRIORITIES`. A higher number is served first."""
        ...

    @property
    def cost(self) -> float:
        """The amount of work, in a unit that all items of one queue share."""
        ...

    @property
    def since(self) -> float:
        """The time at which the item was created, in seconds on the clock of `motet.core.clock`."""
        ...

    @property
    def ready(self) -> bool:
        """True if the item can be served now. An item that is not ready keeps its position."""
        ...


T = TypeVar("T", bound=Queued)


@dataclass(slots=True)
class _SubQueue(Generic[T]):
    """The items of one tenant and one priority in order of arrival, and the time of the last service."""

    items: dict[T, None] = field(default_factory=dict)
    served: float = -inf


class FairQueue(Generic[T]):
    """A queue ordered by priority, then by the service that each tenant has received.

    The items of one tenant and one priority form a sub-queue. Every `ageing` seconds without service raise the
    priority of a sub-queue by one, up to the highest priority, so no sub-queue starves. If two sub-queues have equal
    priority, the tenant with the least service is first. While two tenants always have waiting items of equal
    priority, their service differs by at most the cost of the two most expensive items. A tenant that arrives or
    returns is credited with the service of the others (start-time fair queueing).
    """

    def __init__(self, ageing: float = AGEING) -> None:
        self._ageing = ageing
        self._sub_queues: dict[tuple[str, int], _SubQueue[T]] = {}
        self._waiting: dict[str, float] = {}
        """Cost of the waiting items of each tenant. Tenants without items are absent."""
        self._served: dict[str, float] = {}
        """Cost of the items served to each tenant, including the service that late tenants are credited with."""
        self._level = 0.0
        """The service that a tenant is credited with when it arrives."""
        self.cost = 0.0
        """Total cost of all items."""

    def __bool__(self) -> bool:
        return bool(self._sub_queues)

    def __len__(self) -> int:
        return sum(len(sub_queue.items) for sub_queue in self._sub_queues.values())

    def __iter__(self) -> Iterator[T]:
        return iter([item for sub_queue in self._sub_queues.values() for item in sub_queue.items])

    def __contains__(self, item: T) -> bool:
        sub_queue = self._sub_queues.get((item.tenant, item.priority))
        return sub_queue is not None and item in sub_queue.items

    def cost_of(self, tenant: str) -> float:
        """Return the total cost of a tenant's items."""
        return self._waiting.get(tenant, 0.0)

    def add(self, item: T) -> None:
        """Append an item."""
        tenant = item.tenant
        if tenant not in self._waiting:
            self._served[tenant] = max(self._served.get(tenant, 0.0), self._level)
        self._waiting[tenant] = self._waiting.get(tenant, 0.0) + item.cost
        self._sub_queues.setdefault((tenant, item.priority), _SubQueue()).items[item] = None
        self.cost += item.cost

    def remove(self, item: T) -> None:
        """Remove an item. An item that is not in the queue is ignored."""
        key = item.tenant, item.priority
        sub_queue = self._sub_queues.get(key)
        if sub_queue is None or item not in sub_queue.items:
            return
        del sub_queue.items[item]
        if not sub_queue.items:
            del self._sub_queues[key]
        if not self._sub_queues:
            # Sums of floats drift, so the cost of an empty queue is set to zero.
            self.cost = 0.0
            self._waiting.clear()
            return
        self.cost -= item.cost
        self._waiting[item.tenant] -= item.cost
        if not any((item.tenant, priority) in self._sub_queues for priority in PRIORITIES):
            del self._waiting[item.tenant]

    def first(self, now: float, permits: Callable[[str, float], bool] | None = None) -> T | None:
        """Return the ready item that should be served next, or None. The item stays in the queue.

        With `permits`, only tenants are served for which it returns True at the time `now`.
        """
        best: tuple[tuple[int, float, float], T] | None = None
        for (tenant, priority), sub_queue in self._sub_queues.items():
            item = next((item for item in sub_queue.items if item.ready), None)
            if item is None or (permits is not None and not permits(tenant, now)):
                continue
            unserved = now - max(item.since, sub_queue.served)
            urgency = min(PRIORITIES[-1], priority + int(unserved / self._ageing))
            key = (-urgency, self._served[tenant], item.since)
            if best is None or key < best[0]:
                best = key, item
        return best[1] if best else None

    def charge(self, item: T, now: float) -> None:
        """Record the service of an item. The item need not have waited in the queue."""
        if (sub_queue := self._sub_queues.get((item.tenant, item.priority))) is not None:
            sub_queue.served = now
        start = max(self._served.get(item.tenant, 0.0), self._level)
        # The level rises with the least service of the waiting tenants and of the tenant that is served now.
        self._level = min([start, *(self._served[tenant] for tenant in self._waiting)])
        self._served[item.tenant] = start + item.cost
        if len(self._served) > MAX_IDLE_TENANTS + len(self._waiting):
            self._forget()

    def _forget(self) -> None:
        """Forget the half of the idle tenants with the least service. A forgotten tenant counts as new."""
        idle = sorted((tenant for tenant in self._served if tenant not in self._waiting), key=self._served.__getitem__)
        for tenant in idle[: len(idle) // 2]:
            del self._served[tenant]
