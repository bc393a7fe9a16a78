"""The replicas of a pool that may get calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from motet.scheduling.indexed_set import IndexedSet
from orchestrator.pool.replica import Replica

Worker = TypeVar("Worker")

_CANDIDATES = 16
"""Maximum number of replicas that are compared for one call. Others are not looked at, so that a call to a pool of a
thousand replicas costs as much as one to a pool of sixteen. The best of sixteen random ones is nearly the best of all.
And orchestrators whose view of the loads is equally old do not all choose the same replica."""


@dataclass(frozen=True, slots=True)
class _Slots:
    """The slots of a replica, and its calls by tenant, as they are in the sums."""

    all: int
    free: int
    unlimited: int
    running: Counter[str]


class ReadyReplicas(Generic[Worker]):
    """The members of a pool that are present and not stalled, with the sums of their slots and calls.

    `update` must be called after each change of a replica. It takes a time that does not depend on the number of
    replicas. The sums are without ejected replicas, which get a probe at most.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._replicas: IndexedSet[Replica[Worker]] = IndexedSet()
        self._with_free_slot: IndexedSet[Replica[Worker]] = IndexedSet()
        self._ejected: dict[Replica[Worker], None] = {}
        self._slots: dict[Replica[Worker], _Slots] = {}
        self._unlimited = 0
        self._slots_of_all = 0
        self.free_slots = 0
        """Number of free slots."""
        self.running: Counter[str] = Counter()
        """Number of running calls by tenant."""

    def update(self, replica: Replica[Worker]) -> None:
        """Take over the state of a replica. One that is not present anymore, or stalled, is removed."""
        self._remove(replica)
        if replica.removed or replica.stalled or not replica.present:
            return
        if replica.circuit_breaker.until is not None:
            self._ejected[replica] = None
            return
        self._replicas.add(replica)
        if replica.free:
            self._with_free_slot.add(replica)
        count = len(replica.attempts)
        running = Counter(attempt.call.tenant for attempt in replica.attempts)
        slots = _Slots(replica.slots, max(0, replica.slots - count), int(not replica.slots), running)
        self._slots[replica] = slots
        self._add(slots, 1)

    def usable(self, moment: float) -> list[Replica[Worker]]:
        """Return some of the usable replicas, in the order in which they joined; none only if no replica is usable."""
        return self._chosen(self._replicas, (each for each in self._ejected if each.usable(moment)))

    def free(self, moment: float) -> list[Replica[Worker]]:
        """Return some of the usable replicas that have a free slot, in the order in which they joined, or none."""
        probed = (each for each in self._ejected if each.free and each.usable(moment))
        return self._chosen(self._with_free_slot, probed)

    def others(self, replica: Replica[Worker] | None, moment: float) -> list[Replica[Worker]]:
        """Return some usable replicas without a certain one: those with a free slot if there are any."""
        for found in (self.free(moment), self.usable(moment)):
            if others := [each for each in found if each is not replica]:
                return others
        return []

    def any_usable(self, moment: float) -> bool:
        """Return whether a replica is usable."""
        return len(self._replicas) > 0 or any(each.usable(moment) for each in self._ejected)

    def slots(self, moment: float) -> int:
        """Return the number of slots of all usable replicas."""
        return self._slots_of_all + sum(each.slots for each in self._ejected if each.usable(moment))

    @property
    def unlimited(self) -> bool:
        """True if a replica has no limit on its calls."""
        return self._unlimited > 0

    def _chosen(
        self, replicas: IndexedSet[Replica[Worker]], others: Iterable[Replica[Worker]]
    ) -> list[Replica[Worker]]:
        candidates = [*replicas.sample(self._random, _CANDIDATES), *others]
        return sorted(candidates, key=lambda replica: replica.number)

    def _remove(self, replica: Replica[Worker]) -> None:
        self._ejected.pop(replica, None)
        self._replicas.discard(replica)
        self._with_free_slot.discard(replica)
        if (slots := self._slots.pop(replica, None)) is not None:
            self._add(slots, -1)

    def _add(self, slots: _Slots, sign: int) -> None:
        self._slots_of_all += sign * slots.all
        self.free_slots += sign * slots.free
        self._unlimited += sign * slots.unlimited
        for tenant, count in slots.running.items():
            self.running[tenant] += sign * count
            if not self.running[tenant]:
                del self.running[tenant]
