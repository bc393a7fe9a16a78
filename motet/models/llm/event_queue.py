"""What an engine's thread says of one answer, heard on an event loop."""

from __future__ import annotations

import asyncio

from motet.core.workers import LanguageEvent
from motet.models.llm.sequence import Told


class EventQueue:
    """Carries what is told from a thread to the event loop it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Told] = asyncio.Queue()
        self._over = False

    def tell(self, told: Told) -> None:
        """From any thread. Raises RuntimeError when the event loop is closed."""
        self._loop.call_soon_threadsafe(self._told.put_nowait, told)

    async def heard(self) -> list[LanguageEvent]:
        """The next events; [] once nothing more will come. Raises the error that ended the answer."""
        told = None if self._over else await self._told.get()
        if told is None:
            self._over = True
            return []
        if isinstance(told, Exception):
            raise told
        return told

    async def ended(self) -> None:
        """Waits until nothing more will come; what still comes is dropped."""
        while not self._over:
            self._over = await self._told.get() is None
