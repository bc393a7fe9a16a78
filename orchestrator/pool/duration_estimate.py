"""How long work takes, as learned from work that was done."""

from __future__ import annotations

from motet.scheduling.moving_average import MovingAverage


class DurationEstimate:
    """A running average of seconds per unit of work. While it knows nothing, `guess` answers for it."""

    def __init__(self, guess: float | DurationEstimate) -> None:
        self._guess = guess
        self._seconds = MovingAverage()

    def seconds(self, units: float) -> float:
        """What so many units are predicted to take."""
        if self._seconds.value is not None:
            return self._seconds.value * units
        return self._guess.seconds(units) if isinstance(self._guess, DurationEstimate) else self._guess * units

    def learn(self, seconds: float, units: float) -> None:
        """So many units took so many seconds."""
        if units <= 0:
            return
        self._seconds.add(seconds / units)
        if isinstance(self._guess, DurationEstimate):
            self._guess.learn(seconds, units)
