"""The share of the processor that the decoding of media may take."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from motet.scheduling.fair_semaphore import FairSemaphore

SMALL = 1.0
"""Maximum predicted work of small media, in seconds of processor time. A larger file is decoded by another child."""

READINGS_PER_REQUEST = 4
"""Maximum number of a request's files that wait for a slot or are decoded. Others wait behind no more than these."""

_SLOTS = max(2, os.cpu_count() or 1)
"""Maximum number of children. More children than cores would only hold memory."""


class ChildSlots:
    """The slots of the children of one event loop. Tenants get slots in turn.

    Large media leave one slot free, so small media wait only for small media.
    """

    def __init__(self, slots: int = _SLOTS) -> None:
        self._all = FairSemaphore(slots)
        self._large = FairSemaphore(slots - 1)

    @staticmethod
    def of_this_loop() -> ChildSlots:
        """Return the slots of the running event loop."""
        return _of_loops.setdefault(asyncio.get_running_loop(), ChildSlots())

    @asynccontextmanager
    async def small(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot for a child that ends early unless its file is small."""
        async with self._all.slot(tenant, priority=1):
            yield

    @asynccontextmanager
    async def large(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot for a large file."""
        async with self._large.slot(tenant), self._all.slot(tenant):
            yield


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, ChildSlots] = WeakKeyDictionary()
