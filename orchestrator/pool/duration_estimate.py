"""How long work takes, as learned from work that was done."""

from __future__ import annotations

_WEIGHT = 0.2
"""Of the newest piece of work in the running average."""


class DurationEstimate:
    """A running average of seconds per unit of work. While it knows nothing, `guess` answers for it."""

    def __init__(self, guess: float | DurationEstimate) -> None:
        self._guess = guess
        self._seconds: float | None = None

    def seconds(self, units: float) -> float:
        """What so many units are predicted to take."""
        if self._seconds is not None:
            return self._seconds * units
        return self._guess.seconds(units) if isinstance(self._guess, DurationEstimate) else self._guess * units

    def learn(self, seconds: float, units: float) -> None:
        """So many units took so many seconds."""
        if units <= 0:
            return
        each = seconds / units
        self._seconds = each if self._seconds is None else self._seconds + _WEIGHT * (each - self._seconds)
        if isinstance(self._guess, DurationEstimate):
            self._guess.learn(seconds, units)
