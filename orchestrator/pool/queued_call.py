"""One call on its way to a worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class QueuedCall:
    """On whose behalf a call is made, how urgent it is and how much work.

    `units` counts its work in what its pool counts in (denoising steps, pieces of media, calls); `done` of them are
    behind it. `cost` is what was predicted for it, in seconds, when it came, at `since` on the loop's clock.
    """

    tenant: str
    priority: int
    units: float
    cost: float
    since: float
    done: float = 0.0
    started: float | None = None
    """When a worker got it, if one did."""
    lapse: asyncio.TimerHandle | None = None
    """Gives its place back, where one is kept for it."""
    turn: asyncio.Future[None] | None = None
    """Set while it waits; the result is that its turn has come."""

    @property
    def ready(self) -> bool:
        """Whether it could start now; else it is still expected, or has given up."""
        return self.turn is not None and not self.turn.done()
