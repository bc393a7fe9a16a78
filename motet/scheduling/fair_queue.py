"""The project's queue for waiting work: priorities with ageing, and fairness between tenants."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Generic, Protocol, TypeVar

from motet.core.request import PRIORITIES
from motet.scheduling.updatable_heap import UpdatableHeap

AGEING = 10.0
"""Waiting time that raises a priority by one, in seconds. The default of `FairQueue`."""

MAX_IDLE_TENANTS = 1024
"""Maximum number of tenants without waiting items whose received service is stored."""

TENANT_SHARE = 4.0
"""Maximum share of one tenant, per unit that is free: alone, a tenant fills four fifths and leaves room for others."""


class Queued(Hashable, Protocol):
    """An item of a `FairQueue`. Items are compared by identity."""

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


T = TypeVar("T", bound=Queued)


@dataclass(slots=True, eq=False)
class _SubQueue(Generic[T]):
    """The items of one tenant and one priority in order of arrival, and the time of the last service."""

    tenant: str
    priority: int
    items: dict[T, int] = field(default_factory=dict)
    """The items with their numbers in order of arrival."""
    ready: UpdatableHeap[T] = field(default_factory=UpdatableHeap)
    """The items that can be served, by their numbers."""
    served: float = -inf
    urgency: int = PRIORITIES[0]
    """The priority, raised by the waiting time."""


class FairQueue(Generic[T]):
    """A queue ordered by priority, then by the service that each tenant has received.

    The items of one tenant and one priority form a sub-queue. Every `ageing` seconds without service raise the
    priority of a sub-queue by one, up to the highest priority, so no sub-queue starves. If two sub-queues have equal
    priority, the tenant with the least service is first. While two tenants always have waiting items of equal
    priority, their service differs by at most the cost of the two most expensive items. A tenant that arrives or
    returns is credited with the service of the others (start-time fair queueing).

    Each operation takes a time that is logarithmic in the number of waiting tenants. The times that are passed to one
    queue must not decrease.
    """

    def __init__(self, ageing: float = AGEING) -> None:
        self._ageing = ageing
        self._sub_queues: dict[tuple[str, int], _SubQueue[T]] = {}
        self._by_urgency: dict[int, UpdatableHeap[_SubQueue[T]]] = {each: UpdatableHeap() for each in PRIORITIES}
        """The sub-queues with a ready item, by their urgency."""
        self._raises: UpdatableHeap[_SubQueue[T]] = UpdatableHeap()
        """The sub-queues whose urgency rises, by the time of the next rise."""
        self._changed: dict[_SubQueue[T], None] = {}
        """The sub-queues whose rank may be another one than in the heaps."""
        self._waiting: dict[str, float] = {}
        """Cost of the waiting items of each tenant. Tenants without items are absent."""
        self._served: dict[str, float] = {}
        """Cost of the items served to each tenant, including the service that late tenants are credited with."""
        self._least_served: UpdatableHeap[str] = UpdatableHeap()
        """The tenants with items, by `_served`."""
        self._level = 0.0
        """The service that a tenant is credited with when it arrives."""
        self._arrivals = count()
        self._length = 0
        self.cost = 0.0
        """Total cost of all items."""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return iter([item for sub_queue in self._sub_queues.values() for item in sub_queue.items])

    def __contains__(self, item: T) -> bool:
        sub_queue = self._sub_queues.get((item.tenant, item.priority))
        return sub_queue is not None and item in sub_queue.items

    def cost_of(self, tenant: str) -> float:
        """Return the total cost of a tenant's items."""
        return self._waiting.get(tenant, 0.0)

    def reserve(self, item: T) -> None:
        """Append an item that is not served before `add` is called for it."""
        tenant, key = item.tenant, (item.tenant, item.priority)
        if tenant not in self._waiting:
            self._served[tenant] = max(self._served.get(tenant, 0.0), self._level)
            self._least_served.set(tenant, self._served[tenant])
        self._waiting[tenant] = self._waiting.get(tenant, 0.0) + item.cost
        if key not in self._sub_queues:
            self._sub_queues[key] = _SubQueue(*key)
        self._sub_queues[key].items[item] = next(self._arrivals)
        self._length += 1
        self.cost += item.cost

    def add(self, item: T) -> None:
        """Append an item. A reserved item keeps its position."""
        if item not in self:
            self.reserve(item)
        sub_queue = self._sub_queues[item.tenant, item.priority]
        sub_queue.ready.set(item, sub_queue.items[item])
        self._changed[sub_queue] = None

    def remove(self, item: T) -> None:
        """Remove an item. An item that is not in the queue is ignored."""
        if item not in self:
            return
        self._length -= 1
        self.cost -= item.cost
        self._waiting[item.tenant] -= item.cost
        sub_queue = self._sub_queues[item.tenant, item.priority]
        del sub_queue.items[item]
        sub_queue.ready.discard(item)
        if sub_queue.items:
            self._changed[sub_queue] = None
        else:
            self._remove_sub_queue(sub_queue)
        if not self._length:
            # Sums of floats drift, so the cost of an empty queue is set to zero.
            self.cost = 0.0

    def first(self, now: float, permits: Callable[[str, float], bool] | None = None) -> T | None:
        """Return the item that should be served next, or None. The item stays in the queue.

        With `permits`, only tenants are served for which it returns True at the time `now`. The time is linear in the
        number of tenants that are refused.
        """
        for sub_queue in self._changed:
            self._rank(sub_queue, now)
        self._changed.clear()
        while (rising := self._raises.first()) is not None and self._raises.rank(rising) <= now:
            self._rank(rising, now)
        permitted = (lambda sub_queue: permits(sub_queue.tenant, now)) if permits else None
        for urgency in reversed(PRIORITIES):
            if (best := self._by_urgency[urgency].first(permitted)) is not None:
                return best.ready.first()
        return None

    def charge(self, item: T, now: float) -> None:
        """Record the service of an item. The item need not have waited in the queue."""
        tenant = item.tenant
        if (sub_queue := self._sub_queues.get((tenant, item.priority))) is not None:
            sub_queue.served = now
        start = max(self._served.get(tenant, 0.0), self._level)
        # The level rises with the least service of the waiting tenants and of the tenant that is served now.
        least = self._least_served.first()
        self._level = start if least is None else min(start, self._served[least])
        self._served[tenant] = start + item.cost
        if tenant in self._waiting:
            self._least_served.set(tenant, self._served[tenant])
            keys = ((tenant, priority) for priority in PRIORITIES)
            self._changed.update((self._sub_queues[key], None) for key in keys if key in self._sub_queues)
        if len(self._served) > MAX_IDLE_TENANTS + len(self._waiting):
            self._forget()

    def _remove_sub_queue(self, sub_queue: _SubQueue[T]) -> None:
        tenant = sub_queue.tenant
        del self._sub_queues[tenant, sub_queue.priority]
        self._by_urgency[sub_queue.urgency].discard(sub_queue)
        self._raises.discard(sub_queue)
        self._changed.pop(sub_queue, None)
        if not any((tenant, priority) in self._sub_queues for priority in PRIORITIES):
            del self._waiting[tenant]
            self._least_served.discard(tenant)

    def _rank(self, sub_queue: _SubQueue[T], now: float) -> None:
        """Place a sub-queue by its urgency and its tenant's service, or nowhere if none of its items is ready."""
        self._by_urgency[sub_queue.urgency].discard(sub_queue)
        self._raises.discard(sub_queue)
        item = sub_queue.ready.first()
        if item is None:
            return
        start = max(item.since, sub_queue.served)
        raises = max(0, int((now - start) / self._ageing))
        raises += start + (raises + 1) * self._ageing <= now  # The quotient was rounded down.
        sub_queue.urgency = min(PRIORITIES[-1], sub_queue.priority + raises)
        self._by_urgency[sub_queue.urgency].set(sub_queue, (self._served[sub_queue.tenant], item.since))
        if sub_queue.urgency < PRIORITIES[-1]:
            self._raises.set(sub_queue, start + (raises + 1) * self._ageing)

    def _forget(self) -> None:
        """Forget the half of the idle tenants with the least service. A forgotten tenant counts as new."""
        idle = sorted((tenant for tenant in self._served if tenant not in self._waiting), key=self._served.__getitem__)
        for tenant in idle[: len(idle) // 2]:
            del self._served[tenant]
