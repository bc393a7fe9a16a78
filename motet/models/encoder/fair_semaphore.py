"""Where only so many may be at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from motet.models.fair_queue import FairQueue


class FairSemaphore:
    """Has so many places; who finds none free waits in a `FairQueue`. Belongs to one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._line: FairQueue[asyncio.Future[None]] = FairQueue()

    @asynccontextmanager
    async def place(self, tenant: str = "", priority: int = 0) -> AsyncIterator[None]:
        """Within, one place is taken, once its turn has come."""
        await self._enter(tenant, priority)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, tenant: str, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.join(turn, tenant, priority, 1.0)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave()  # its turn came in the moment in which it gave up
            raise

    def _leave(self) -> None:
        while (turn := self._line.first()) is not None:
            self._line.leave(turn)
            if not turn.done():  # who gave up is still in the line
                turn.set_result(None)
                return
        self._free += 1
