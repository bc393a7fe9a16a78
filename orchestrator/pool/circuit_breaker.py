"""When a replica that fails is left alone, and when it is tried again."""

from __future__ import annotations

from random import Random

_LONGEST = 60.0
"""Seconds for which a replica is left alone at most, before jitter."""

_JITTER = 0.2
"""Part by which each time is made longer or shorter, so that many orchestrators do not come back together."""


class CircuitBreaker:
    """Ejects a replica after `limit` failures in a row, for `seconds` at first and twice as long each time it goes on.

    When that time is over, one call at a time may probe it; the first that succeeds readmits it. Times are on the
    loop's clock, and given.
    """

    def __init__(self, limit: int, seconds: float, random: Random) -> None:
        self._limit = limit
        self._seconds = seconds
        self._random = random
        self._failures = 0
        self._ejections = 0
        self._until: float | None = None
        self._probing = False

    @property
    def until(self) -> float | None:
        """When it may be probed; None while it is not ejected."""
        return self._until

    def admits(self, now: float) -> bool:
        """Whether a call may go there: it is not ejected, or may be probed and is not being probed."""
        return self._until is None or (now >= self._until and not self._probing)

    def begin(self) -> None:
        """A call goes there."""
        self._probing = self._until is not None

    def succeed(self) -> None:
        """A call succeeded."""
        self._failures = self._ejections = 0
        self._until = None
        self._probing = False

    def fail(self, now: float) -> bool:
        """A call failed; whether that ejects it. Calls that began before an ejection and fail after it add nothing."""
        self._failures += 1
        if self._until is not None and not self._probing:
            return False
        if self._until is None and self._failures < self._limit:
            return False
        seconds = min(_LONGEST, self._seconds * 2**self._ejections)
        self._ejections += 1
        self._until = now + seconds * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self._probing = False
        return True

    def pass_over(self) -> None:
        """A call ended in a way that says nothing of its health."""
        self._probing = False
