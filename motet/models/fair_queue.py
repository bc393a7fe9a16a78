"""Who is next: a queue that is fair between tenants."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Place(Generic[T]):
    item: T
    order: tuple[int, float, int]


class FairQueue(Generic[T]):
    """Items in the order in which they should be served: higher priority first, and within one, tenants by turns.

    Turns are by cost, not by number: each tenant's items are laid end to end on a clock of work, beginning no earlier
    than now, and whatever begins first is first. A tenant that asks for much waits for itself, not the others for it.
    """

    def __init__(self) -> None:
        self._places: list[_Place[T]] = []
        self._laid: dict[str, float] = {}
        self._now = 0.0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        return iter([place.item for place in self._places])

    def join(self, item: T, tenant: str, priority: int, cost: float) -> None:
        """Puts an item where it belongs."""
        begins = max(self._now, self._laid.get(tenant, 0.0))
        self._laid[tenant] = begins + cost
        self._arrivals += 1
        insort(self._places, _Place(item, (-priority, begins, self._arrivals)), key=lambda place: place.order)

    def first(self) -> T | None:
        """Who is next, None where nobody waits."""
        return self._places[0].item if self._places else None

    def leave(self, item: T) -> None:
        """Takes an item out, because it is served or gives up. Raises `ValueError` where it does not wait here."""
        index = next((i for i, place in enumerate(self._places) if place.item == item), None)
        if index is None:
            raise ValueError("what leaves the line was not in it")
        left = self._places.pop(index)
        if index == 0:
            self._now = max(self._now, left.order[1])
        if not self._places:
            # Nobody is owed anything, and a tenant's name need not be kept for ever.
            self._laid.clear()
            self._now = 0.0
