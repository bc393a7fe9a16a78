"""A budget that refills with time."""

from __future__ import annotations

from motet.core.clock import now

_PERIOD = 60.0
"""Seconds in which an empty bucket becomes full."""


class TokenBucket:
    """An amount that refills at a constant rate, up to the amount of one minute.

    Many costs are known only after the work, so the amount may become negative. Then it is the tenant's debt.
    """

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._amount = per_minute
        self._at = now()

    @property
    def amount(self) -> float:
        """The amount that is left. It is negative after more was used."""
        moment = now()
        self._amount = min(self.per_minute, self._amount + (moment - self._at) * self.per_minute / _PERIOD)
        self._at = moment
        return self._amount

    def change_rate(self, per_minute: float) -> None:
        """Change the rate. What was used stays used: the amount changes by the difference of the rates."""
        self._amount = self.amount + per_minute - self.per_minute
        self.per_minute = per_minute

    def charge(self, cost: float) -> None:
        """Take a cost from the amount, also if the amount is smaller."""
        self._amount = self.amount - cost

    def wait(self, cost: float = 0.0) -> float:
        """Return the seconds until the amount is positive and at least `cost`, or 0 if it is now."""
        amount = self.amount
        if amount > 0 and amount >= cost:
            return 0.0
        return max(0.0, cost - amount) * _PERIOD / self.per_minute + _TICK


_TICK = 0.001
"""Seconds added to a wait, so that the amount is above 0 after it."""
