"""Prediction of how long work takes, from the durations of finished work."""

from __future__ import annotations

from motet.scheduling.moving_average import MovingAverage

_MAX_GROWTH = 10.0
"""Maximum ratio of a measurement to the prediction. Longer ones, as of a frozen worker, count as this multiple."""


class DurationEstimate:
    """A moving average of seconds per unit of work.

    `initial` is used before the first measurement: seconds per unit, or another estimate, which then learns from every
    measurement too.
    """

    def __init__(self, initial: float | DurationEstimate) -> None:
        self._initial = initial
        self._average = MovingAverage()

    def seconds(self, units: float) -> float:
        """Return the predicted duration of `units` units of work, in seconds."""
        if self._average.value is not None:
            return self._average.value * units
        initial = self._initial
        return initial.seconds(units) if isinstance(initial, DurationEstimate) else initial * units

    def learn(self, seconds: float, units: float) -> None:
        """Add a measurement: `units` units of work took `seconds` seconds."""
        if units <= 0:
            return
        if self._average.value:
            seconds = min(seconds, _MAX_GROWTH * self._average.value * units)
        self._average.add(seconds / units)
        if isinstance(self._initial, DurationEstimate):
            self._initial.learn(seconds, units)
