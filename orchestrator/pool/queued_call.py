"""One call to a worker, from the queue to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class QueuedCall:
    """A call of one tenant. It is an item of the pool's `FairQueue`.

    `units` is the amount of work in the pool's unit (denoising steps, pieces of media, calls); `done` units are
    finished. `cost` is the duration in seconds that was predicted at `since`, a time on the event loop's clock.
    """

    tenant: str
    priority: int
    units: float
    cost: float
    since: float
    repeatable: bool = False
    """True if the call may be repeated after some of its items were yielded. The items are then yielded again."""
    done: float = 0.0
    attempts: int = 0
    """Number of times the call was sent to a worker."""
    yielded: bool = False
    """True once an item was yielded."""
    started: float | None = None
    """Start of the latest attempt, or None if the call was never sent to a worker."""
    expiry: asyncio.TimerHandle | None = None
    """The timer that releases the reservation, if there is one."""
    assignment: asyncio.Future[Any] | None = None
    """Set once the call waits in the queue. Its result is the replica that has a free slot for the call."""

    @property
    def ready(self) -> bool:
        """True if the call can start now. A reservation is not ready before its call comes."""
        return self.assignment is not None and not self.assignment.done()
