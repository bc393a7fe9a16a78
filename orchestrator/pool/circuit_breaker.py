"""Ejection of replicas that fail, and the probes that readmit them."""

from __future__ import annotations

from random import Random

_MAX_EJECTION = 60.0
"""Maximum duration of an ejection in seconds, before jitter."""

_JITTER = 0.2
"""Relative random change of each ejection, so that several orchestrators do not probe a replica at the same time."""


class CircuitBreaker:
    """Ejects a replica after `limit` consecutive failures, for `seconds` at first.

    Each ejection without a success in between lasts twice as long as the one before, up to a minute. After an ejection,
    one call at a time may probe the replica. The first success readmits it. All times are on the event loop's clock.
    """

    def __init__(self, limit: int, seconds: float, random: Random) -> None:
        self._limit = limit
        self._seconds = seconds
        self._random = random
        self._failures = 0
        self._next_ejection = min(_MAX_EJECTION, seconds)
        self._until: float | None = None
        self._probing = False

    @property
    def until(self) -> float | None:
        """The time from which probes are allowed, or None if the replica is not ejected."""
        return self._until

    def allows(self, now: float) -> bool:
        """Return whether a call may start: the replica is not ejected, or a probe is allowed and none is running."""
        return self._until is None or (now >= self._until and not self._probing)

    def start(self) -> None:
        """Record that a call starts. If the replica is ejected, the call is its probe."""
        self._probing = self._until is not None

    def succeed(self) -> None:
        """Record a successful call."""
        self._failures = 0
        self._next_ejection = min(_MAX_EJECTION, self._seconds)
        self._until = None
        self._probing = False

    def recover(self, now: float) -> None:
        """Record that the worker is back after it could not be reached. If the replica is ejected, allow a probe now.

        The ejections of the outage do not delay the probe, and do not make the next ejection longer.
        """
        self._next_ejection = min(_MAX_EJECTION, self._seconds)
        if self._until is not None:
            self._until = min(self._until, now)

    def fail(self, now: float) -> bool:
        """Record a failed call and return whether it ejects the replica.

        A call that started before an ejection and fails during the ejection does not extend it.
        """
        self._failures += 1
        if self._until is not None and not self._probing:
            return False
        if self._until is None and self._failures < self._limit:
            return False
        seconds = self._next_ejection
        self._next_ejection = min(_MAX_EJECTION, 2 * seconds)
        self._until = now + seconds * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self._probing = False
        return True

    def ignore(self) -> None:
        """Record the end of a call whose outcome does not show whether the replica works."""
        self._probing = False
