"""The restarts of a process that ends again and again: their delays, and their limit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The limit of a process's restarts: `max_restarts` within any `period`. Each of them doubles the next delay.

    Times are in seconds. `min_delay` is the delay of the first restart.
    """

    max_restarts: int = 8
    period: float = 300.0
    min_delay: float = 0.25
    max_delay: float = 16.0


class Restarts:
    """The recent restarts of one process."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._times: deque[float] = deque()

    def next_delay(self, now: float) -> float | None:
        """Count a restart at `now`, and return its delay in seconds. Return None if the limit is reached."""
        policy = self._policy
        while self._times and self._times[0] <= now - policy.period:
            self._times.popleft()
        if len(self._times) == policy.max_restarts:
            return None
        self._times.append(now)
        return min(policy.max_delay, policy.min_delay * 2.0 ** (len(self._times) - 1))
