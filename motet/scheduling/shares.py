"""An amount of something that several holders share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from motet.core.errors import OverloadedError


class Shares:
    """An amount that holders share. One holder may have as much as it leaves for others: alone, half of the limit.

    So the next greedy holder gets half of the rest, and so on: of 1000 units, 9 greedy holders leave one. If nothing is
    taken, a single amount may exceed the limit. `unit` names the amount in errors, and `advice` says what to do.
    """

    def __init__(self, limit: int, unit: str, advice: str) -> None:
        self._limit, self._unit, self._advice = limit, unit, advice
        self._held: Counter[str] = Counter()
        """The amount of each holder that has one."""
        self.total = 0
        """The amount that is taken."""

    def take(self, holder: str, amount: int = 1) -> None:
        """Take an amount until `release`. Raises `OverloadedError` if it is not available."""
        left, own = self._limit - self.total - amount, self._held[holder]
        if self.total and (left < 0 or own > left):
            raise OverloadedError(
                f"{own + amount} {self._unit} are more than this caller may have at the same time; {self._advice}",
                metadata={"limit": str(self._limit), "own": str(own), "left": str(max(0, self._limit - self.total))},
            )
        self._held[holder] += amount
        self.total += amount

    def release(self, holder: str, amount: int = 1) -> None:
        """Return an amount that was taken."""
        self.total -= amount
        self._held[holder] -= amount
        if not self._held[holder]:
            del self._held[holder]

    @contextmanager
    def taken(self, holder: str, amount: int = 1) -> Iterator[None]:
        """Take an amount inside the context. Raises `OverloadedError` if it is not available."""
        self.take(holder, amount)
        try:
            yield
        finally:
            self.release(holder, amount)
