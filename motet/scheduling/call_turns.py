"""The turns in which a server starts new calls."""

from __future__ import annotations

import asyncio

from motet.core.errors import OverloadedError, retry_delay
from motet.scheduling.fair_semaphore import FairSemaphore

_INTERVAL = 0.001
"""Minimum time from the start of a call to that of the next one, in seconds.

gRPC hands over calls one after the other, first come, first served, in less time. So calls that must wait do it here,
where tenants take turns, and not there. Handling a call takes about as long as this interval.
"""

_ITERATIONS = 4
"""Minimum number of iterations of the event loop from the start of a call to that of the next one.

gRPC hands over one call in about two iterations. An iteration takes long on a busy server, longer than `_INTERVAL`.
"""

MAX_WAITING = 1024
"""Maximum number of a tenant's calls that wait."""

_BYTES = 64 * 1024
"""Size of a request that waits as one call does, in bytes. A larger request counts as several calls."""


class CallTurns:
    """Starts the calls of a server one after the other. Tenants take turns, so one tenant's calls delay only its own.

    A call does not wait if no other one started shortly before. Running calls continue while new ones wait.
    """

    def __init__(self) -> None:
        self._turn = FairSemaphore(1)

    async def wait(self, tenant: str, size: int = 0) -> None:
        """Wait for the turn of a tenant's call whose request has `size` bytes.

        Raises `OverloadedError` if too many calls of the tenant wait.
        """
        waiting, cost = self._turn.waiting(tenant), max(1.0, size / _BYTES)
        if waiting and waiting + cost > MAX_WAITING:
            raise OverloadedError(
                f"{waiting:.0f} calls of this tenant wait to start; make fewer calls at the same time",
                metadata={"limit": str(MAX_WAITING)},
                retry_after=retry_delay(1.0),
            )
        await self._turn.acquire(tenant, cost=cost)
        asyncio.get_running_loop().call_later(_INTERVAL, self._release_after, _ITERATIONS)

    def _release_after(self, iterations: int) -> None:
        """End a turn after further iterations of the event loop."""
        if iterations:
            asyncio.get_running_loop().call_soon(self._release_after, iterations - 1)
        else:
            self._turn.release()
