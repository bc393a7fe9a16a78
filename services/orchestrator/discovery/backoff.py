"""The time between attempts to reach a source."""

from __future__ import annotations

from random import Random


class Backoff:
    """The seconds to wait after each failure: twice as long as before, up to a maximum, and with jitter.

    Jitter keeps many orchestrators from calling a server at the same moment when it is back.
    """

    def __init__(self, minimum: float, maximum: float, random: Random | None = None) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._random = random or Random()
        self._next = minimum

    def seconds(self) -> float:
        """Return the time to wait after one more failure, in seconds."""
        seconds = self._next * self._random.uniform(0.5, 1.0)
        self._next = min(self._maximum, 2 * self._next)
        return seconds

    def reset(self) -> None:
        """Record a success."""
        self._next = self._minimum
