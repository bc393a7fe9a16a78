"""The work of a pool that has not ended, as the signal for the number of its replicas."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TARGET = 10.0
"""Default of the predicted seconds of work per replica at which a pool has the right number of replicas."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The calls of a pool that wait or run, and those that have a reservation.

    `seconds` is their predicted work, without what is done. Running calls count, because the queue of a pool that keeps
    up is empty. `oldest_wait` is the time since the oldest call that waits for a replica was made, in seconds.
    """

    calls: int
    seconds: float
    oldest_wait: float

    @property
    def active(self) -> bool:
        """True if the pool needs at least one replica."""
        return self.calls > 0
